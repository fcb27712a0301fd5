"""Outbound I/O of endpoint-router.

load_reports.py   load reports from NATS
envoy_config.py   decisions as xDS resources in the snapshot
envoy/            Envoy's configuration from plain values, and the filter that runs inside it
xds/              the snapshot and the server that pushes it to Envoys
metrics.py        Prometheus metrics
local/            what only one machine has
kubernetes/       what only a cluster has: HTTPRoutes
"""
