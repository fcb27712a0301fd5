"""Errors of an API server, with the next step."""

import re
from typing import TYPE_CHECKING

from arks.local.cli.failure import Exit, Failure

if TYPE_CHECKING:
    from arks.local.cli.home import ClusterHome

_RIGHTS = "docs/operations.md, The command on a cluster, lists the rights that each command needs"


def cluster_failure(error: Exception, home: "ClusterHome") -> Failure:
    """An error of the client of Kubernetes as a message for the person."""
    text = _without_request(str(error))
    if "forbidden" in text.lower() or "cannot " in text:
        return Failure(text, _RIGHTS)
    if "could not find the requested resource" in text:
        return Failure(
            f"the cluster of {home.shown} does not know Arks' resources",
            "install the charts: docs/kubernetes.md; another cluster: --context NAME",
        )
    if "unauthorized" in text.lower():
        return Failure(f"{home.shown}: the cluster rejects the credentials", "check them with `kubectl auth whoami`")
    if "ready pod" in text:
        return Failure(text, f"`kubectl get pods -n {home.release_namespace}`; elsewhere: --arks-namespace NAME")
    if "NATS does not answer" in text:
        return Failure(text, f"`kubectl logs -n {home.release_namespace} arks-nats-0`", Exit.TIMED_OUT)
    return Failure(text, "check the cluster with `kubectl get --raw /readyz`")


def _without_request(text: str) -> str:
    """`list ArksModel x/: models is forbidden` without what was requested: the server's own words name it."""
    return re.sub(r"^(get|list|post|patch|websocket) \S+ \S*: (?=.*(forbidden|cannot))", "", text)
