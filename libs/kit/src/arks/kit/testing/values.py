"""Arbitrary values for tests of readers: no exception may leave one."""

from typing import Any

from hypothesis import strategies as st

_TEXTS = ["", "²", "many", "-1", "1e999", "True", "[" * 2000, "0001-01-01T00:00:00+23:59", "2026-13-01T00:00:00Z"]
"""Texts that are nearly numbers, times and JSON."""
texts = st.sampled_from(_TEXTS) | st.text(max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)


def _maps(keys: list[str]) -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from(keys) | texts, texts, max_size=8)


def kube_objects(labels: list[str], annotations: list[str], *, typed: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Pods and workloads as others may have made them, with values at these keys of labels and annotations.

    `typed`: with the types that an API server checks; otherwise anything in the place of a spec and a status.
    """
    owners = st.fixed_dictionaries({"kind": texts, "name": texts, "uid": texts, "apiVersion": texts})
    metadata = st.fixed_dictionaries(
        {"name": texts, "namespace": texts, "uid": texts, "resourceVersion": texts},
        optional={
            "labels": _maps(labels),
            "annotations": _maps(annotations),
            "ownerReferences": st.lists(owners, max_size=2),
            "creationTimestamp": texts,
            "deletionTimestamp": texts,
            "generation": st.integers(0, 2**63),
        },
    )
    spec, status = (_SPECS, _STATUSES) if typed else (json_values, json_values)
    return st.fixed_dictionaries({"metadata": metadata}, optional={"spec": spec, "status": status})


_NAMES = st.sampled_from(["main", "leader", "worker", "download"]) | texts
_PORTS = st.fixed_dictionaries({"containerPort": st.integers(0, 65535)}, optional={"name": st.just("http") | texts})
_CONTAINERS = st.lists(
    st.fixed_dictionaries({"name": _NAMES}, optional={"image": texts, "ports": st.lists(_PORTS, max_size=2)}),
    max_size=2,
)
_TERMINATED = st.fixed_dictionaries(
    {"exitCode": st.integers(-(2**31), 2**31)}, optional={"reason": texts, "message": texts, "finishedAt": texts}
)
_STATES = st.fixed_dictionaries(
    {},
    optional={
        "running": st.just({}),
        "waiting": st.fixed_dictionaries({}, optional={"reason": texts, "message": texts}),
        "terminated": _TERMINATED,
    },
)
_CONTAINER_STATUSES = st.lists(
    st.fixed_dictionaries(
        {"name": _NAMES}, optional={"state": _STATES, "lastState": _STATES, "restartCount": st.integers(0, 2**31)}
    ),
    max_size=2,
)
_CONDITIONS = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["Ready", "PodScheduled", "Failed", "Complete"]) | texts,
            "status": st.sampled_from(["True", "False"]) | texts,
        },
        optional={"reason": texts, "message": texts, "lastTransitionTime": texts},
    ),
    max_size=3,
)
_SPECS = st.fixed_dictionaries(
    {}, optional={"containers": _CONTAINERS, "initContainers": _CONTAINERS, "replicas": st.integers(0, 2**31)}
)
_STATUSES = st.fixed_dictionaries(
    {},
    optional={
        "phase": st.sampled_from(["Running", "Failed"]) | texts,
        "reason": texts,
        "message": texts,
        "podIP": texts,
        "conditions": _CONDITIONS,
        "containerStatuses": _CONTAINER_STATUSES,
        "initContainerStatuses": _CONTAINER_STATUSES,
    },
)
