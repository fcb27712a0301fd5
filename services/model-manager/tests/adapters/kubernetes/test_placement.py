"""A volume that is bound where its first pod runs is bound within reach of the engines."""

from typing import Any

import pytest

from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.kit.kube.pod_defaults import PodDefaults
from arks.model_manager.adapters.kubernetes.consumers import Consumers
from arks.model_manager.adapters.kubernetes.placement import (
    NO_PLACEMENT,
    Consumer,
    Placement,
    consumer_of,
    disaggregated_consumer_of,
    placement_of,
    warning_of,
)

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
GPU = {"key": "nvidia.com/gpu", "operator": "Exists"}
ZONE_A = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
ZONE_B = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]}
NEW = {"matchExpressions": [{"key": "new", "operator": "Exists"}]}


def consumer(nodes: int = 1, **pod: Any) -> Consumer:
    return Consumer("m", nodes, (pod,))


def affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": list(terms)}}}


def test_without_applications_a_download_runs_anywhere() -> None:
    assert NO_PLACEMENT == placement_of([], PodDefaults(nodeSelector={"pool": "gpu"}))
    assert "" == NO_PLACEMENT.digest


def test_a_download_runs_where_all_applications_can() -> None:
    found = placement_of(
        [
            consumer(nodeSelector={"pool": "gpu"}, tolerations=[GPU, {"key": "x"}]),
            consumer(nodeSelector={"zone": "a"}, tolerations=[GPU]),
        ]
    )
    assert Placement({"pool": "gpu", "zone": "a"}, (), (GPU,)) == found


def test_the_platforms_defaults_of_engines_count_where_the_application_gives_nothing() -> None:
    engines = PodDefaults(nodeSelector={"pool": "gpu", "zone": "b"}, tolerations=[GPU])
    assert Placement({"pool": "gpu", "zone": "a"}, (), (GPU,)) == placement_of(
        [consumer(nodeSelector={"zone": "a"})], engines
    )


def test_terms_of_several_applications_have_to_match_together() -> None:
    found = placement_of([consumer(affinity=affinity(ZONE_A, ZONE_B)), consumer(affinity=affinity(NEW))])
    expressions = [
        sorted(rule.get("values", [rule["key"]])[0] for rule in term["matchExpressions"]) for term in found.terms
    ]
    assert [["a", "new"], ["b", "new"]] == sorted(expressions)
    assert all(len(term["matchExpressions"]) == 2 for term in found.terms)


def test_a_placement_replaces_the_nodes_of_downloads_and_adds_tolerations() -> None:
    pod = {"spec": {"nodeSelector": {"pool": "storage"}, "tolerations": [{"key": "mine"}], "containers": []}}
    placed = Placement({"pool": "gpu"}, (ZONE_A,), (GPU,)).apply(pod)["spec"]
    assert {"pool": "gpu"} == placed["nodeSelector"]
    assert [{"key": "mine"}, GPU] == placed["tolerations"]
    assert affinity(ZONE_A) == placed["affinity"]
    assert pod is NO_PLACEMENT.apply(pod)


def test_applications_are_read_as_the_api_server_returns_them() -> None:
    spec: dict[str, Any] = {"model": {"name": "m"}, "instanceSpec": {"replicas": 2, "nodeSelector": {"a": "b"}}}
    assert consumer(2, nodeSelector={"a": "b"}) == consumer_of({"spec": spec})
    stages = {"prefill": {"size": 2, "instanceSpec": {"tolerations": [GPU]}}, "decode": {}}
    found = disaggregated_consumer_of({"spec": {"model": {"name": "m"}, **stages}})
    assert Consumer("m", 2, ({"tolerations": [GPU]}, {})) == found


@pytest.mark.parametrize(
    ("modes", "nodes", "warned"),
    [
        (("ReadWriteOnce",), 2, True),
        (("ReadWriteOncePod",), 2, True),
        (("ReadWriteOnce",), 1, False),
        (("ReadWriteOnce", "ReadOnlyMany"), 2, False),
        (("ReadWriteMany",), 4, False),
        ((), 2, False),
    ],
)
def test_a_volume_of_one_node_cannot_serve_a_replica_of_several(
    modes: tuple[str, ...], nodes: int, warned: bool
) -> None:
    found = warning_of("weights", modes, [("chat", consumer(nodes))])
    assert warned == (found is not None)
    assert found is None or f"a replica of chat has {nodes} nodes" in found


def test_only_changes_of_its_own_applications_are_reported_for_a_model() -> None:
    cache: Cache[Consumer] = Cache()
    consumers, reported = Consumers([cache]), list[Key]()
    consumers.changed = reported.append
    key = Key("team", "chat")
    cache.apply(key, consumer())
    cache.apply(key, consumer())  # another status
    cache.apply(key, Consumer("other", 1, ()))
    assert ([], ["chat"]) == (consumers.of(Key("team", "m")), [name for name, _ in consumers.of(Key("team", "other"))])
    cache.apply(key, None)
    assert [] == consumers.of(Key("team", "other"))
    assert ["m", "m", "other", "other"] == sorted(key.name for key in reported)
