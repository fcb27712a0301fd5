"""What every Arks service is built from: small, independent modules.

`app` runs a service, `home` ties it to where it runs (one machine or Kubernetes), `bus` speaks NATS, `outbox` holds
events for it, `resources` the custom resources, `facts` the state that services write for each other, `reconcile` turns
changes into work, `status` writes statuses, `kube` is Kubernetes, `telemetry` is logs, metrics and traces, `http`
answers health checks, `process` owns child processes, `testing` has fakes and starts real servers for tests.
"""
