"""What every Arks service is built from: small, independent modules.

`app` runs a service, `home` ties it to where it runs (one machine or Kubernetes), `bus` speaks NATS, `resources`
holds the custom resources, `facts` what services tell each other, `reconcile` turns changes into work, `telemetry` is
logs, metrics and traces, `http` answers health checks, `process` owns child processes, `testing` starts real servers
for tests.
"""
