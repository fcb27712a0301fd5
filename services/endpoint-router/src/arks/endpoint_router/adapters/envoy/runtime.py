"""Build the runtime layer of Envoys: limits of endpoints, which Envoy reads at each request.

In a cluster, a limit that changed would make Envoy build the cluster anew: new connections, and requests in flight at
each replica counted from 0.
"""

from collections.abc import Mapping

from arks.endpoint_router.adapters.envoy.clusters import RETRY_BUDGET_PERCENT
from arks.endpoint_router.adapters.envoy.messages import Runtime
from arks.endpoint_router.domain import Limits

LAYER = "limits"


def runtime(limits: Mapping[str, Limits]) -> Runtime:
    """Return the layer. `limits`: by cluster; what is not named there holds as in the cluster."""
    built = Runtime(name=LAYER)
    built.layer.SetInParent()
    for name, limit in sorted(limits.items()):
        prefix = f"circuit_breakers.{name}.default"
        if limit.requests is not None:
            built.layer[f"{prefix}.max_requests"] = limit.requests
        if limit.retry_percent != RETRY_BUDGET_PERCENT:
            built.layer[f"{prefix}.retry_budget.budget_percent"] = limit.retry_percent
    return built
