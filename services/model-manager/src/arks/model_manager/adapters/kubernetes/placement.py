"""Where the first pod of a volume has to run. A volume that is bound to the node or zone of its first pod must be
within the engines' reach, whose nodes are often others than those of downloads. Pure.
"""

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from arks.kit.kube.pod_defaults import NO_DEFAULTS, PodDefaults
from arks.kit.types import Json

_TERMS = 16
"""Alternatives of nodes; more are cut, which leaves fewer nodes to choose from."""
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_CONSTRAINTS = ("nodeSelector", "affinity", "tolerations")
_SINGLE_NODE = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})


@dataclass(frozen=True, slots=True)
class Consumer:
    """An application that mounts the model."""

    model: str
    nodes: int
    """Nodes of one replica."""
    pods: tuple[Json, ...]
    """Of each kind of its pods: nodeSelector, affinity, tolerations."""


class Placement(NamedTuple):
    """Constraints of a pod, in Kubernetes' form."""

    node_selector: dict[str, str] = {}  # noqa: RUF012  # never changed
    terms: tuple[Json, ...] = ()
    """Node selector terms, of which one has to match."""
    tolerations: tuple[Json, ...] = ()

    def apply(self, template: Json) -> Json:
        """Return the pod template with the constraints instead of its own. Empty ones change nothing."""
        if self == NO_PLACEMENT:
            return template
        pod = {name: value for name, value in template["spec"].items() if name != "nodeSelector"}
        if self.node_selector:
            pod["nodeSelector"] = self.node_selector
        if self.terms:
            pod["affinity"] = {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": list(self.terms)}}}
        given = pod.get("tolerations", [])
        if more := [toleration for toleration in self.tolerations if toleration not in given]:
            pod["tolerations"] = [*given, *more]
        return {**template, "spec": pod}

    @property
    def digest(self) -> str:
        """Empty without constraints."""
        if self == NO_PLACEMENT:
            return ""
        return hashlib.sha256(json.dumps(self, sort_keys=True).encode()).hexdigest()[:16]


NO_PLACEMENT = Placement()


def consumer_of(application: Json) -> Consumer:
    """Read an ArksApplication as the API server returns it."""
    spec = application["spec"]
    pod = spec.get("instanceSpec", {})
    return Consumer(spec["model"]["name"], int(spec.get("size") or pod.get("replicas") or 1), (_constraints(pod),))


def disaggregated_consumer_of(application: Json) -> Consumer:
    """Read an ArksDisaggregatedApplication as the API server returns it."""
    spec = application["spec"]
    stages = [spec.get(name, {}) for name in ("prefill", "decode")]
    nodes = max(int(stage.get("size") or 1) for stage in stages)
    return Consumer(
        spec["model"]["name"], nodes, tuple(_constraints(stage.get("instanceSpec", {})) for stage in stages)
    )


def _constraints(pod: Json) -> Json:
    return {name: pod[name] for name in _CONSTRAINTS if pod.get(name)}


def placement_of(consumers: Sequence[Consumer], engines: PodDefaults = NO_DEFAULTS) -> Placement:
    """Nodes that all consumers can use, according to their specs. `engines`: the platform's defaults of engines.

    Where two consumers want different values of one label, no node serves both; the first one wins.
    """
    placements = [_of_pod(pod, engines) for consumer in consumers for pod in consumer.pods]
    if not placements:
        return NO_PLACEMENT
    selector: dict[str, str] = {}
    for placement in placements:
        selector = {**placement.node_selector, **selector}
    first = placements[0].tolerations
    common = tuple(item for item in first if all(item in placement.tolerations for placement in placements))
    return Placement(selector, _intersection([placement.terms for placement in placements if placement.terms]), common)


def warning_of(claim: str, access_modes: Sequence[str], consumers: Sequence[tuple[str, Consumer]]) -> str | None:
    """Why a volume cannot serve one of these applications; None if it can."""
    if not access_modes or not set(access_modes) <= _SINGLE_NODE:
        return None
    wide = next(((name, consumer.nodes) for name, consumer in consumers if consumer.nodes > 1), None)
    if wide is None:
        return None
    name, nodes = wide
    return (
        f"PVC {claim} is {access_modes[0]}: one node can mount it, but a replica of {name} has {nodes} nodes; "
        "use ReadWriteMany or ReadOnlyMany"
    )


def _of_pod(given: Json, engines: PodDefaults) -> Placement:
    required = given.get("affinity", {}).get("nodeAffinity", {}).get(_REQUIRED, {})
    tolerations = [*given.get("tolerations", []), *engines.tolerations]
    selector = {**engines.node_selector, **given.get("nodeSelector", {})}
    return Placement(selector, tuple(required.get("nodeSelectorTerms", [])), tuple(tolerations))


def _intersection(lists: Sequence[Sequence[Json]]) -> tuple[Json, ...]:
    """Terms that match where one of each list matches."""
    distinct = [list(terms) for terms, _ in itertools.groupby(sorted(lists, key=json.dumps))]
    if not distinct:
        return ()
    return tuple(_joined(terms) for terms in itertools.islice(itertools.product(*distinct), _TERMS))


def _joined(terms: Sequence[Json]) -> Json:
    joined = {
        name: [rule for term in terms for rule in term.get(name, [])] for name in ("matchExpressions", "matchFields")
    }
    return {name: rules for name, rules in joined.items() if rules}
