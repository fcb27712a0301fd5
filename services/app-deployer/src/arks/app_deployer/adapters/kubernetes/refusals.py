"""Why objects of an application cannot be written, as the reason of its condition Ready."""

from arks.app_deployer.adapters.kubernetes.children import LEADER_WORKER_SET
from arks.app_deployer.domain.workload import Refusal
from arks.kit.errors import Invalid, NotFound
from arks.kit.kube.api import WebhookUnavailable
from arks.kit.kube.ownership import NAME_CONFLICT, NameConflict

REJECTED = "UnderlayReconcileFailed"
"""Reason if the API server rejects an object. Old clients know this spelling."""
RETRY_SECONDS = 30.0
"""Retry after this: the cause may be gone (quota raised, LeaderWorkerSet installed, the other object deleted)."""


Refused = (Invalid, NotFound, NameConflict, WebhookUnavailable)
"""Errors of a write that a person has to remove."""


def refusal_of(error: Invalid | NotFound | NameConflict | WebhookUnavailable) -> Refusal:
    if isinstance(error, NameConflict):
        return Refusal(NAME_CONFLICT, str(error))
    if isinstance(error, NotFound) and LEADER_WORKER_SET.kind in str(error):
        return Refusal(REJECTED, f"LeaderWorkerSet is not installed in this cluster ({error})")
    return Refusal(REJECTED, str(error))
