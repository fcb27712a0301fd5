"""Endpoint, facts and load reports -> Envoy's resources, as golden pairs. The case names are the requirements.

REWRITE_GOLDEN=1 writes the outputs anew; read the difference.
"""

import json
from pathlib import Path, PurePath
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from arks.contracts.resources import ArksEndpoint
from arks.endpoint_router.adapters.envoy import GatewaySettings, to_json, token_quota_cluster
from arks.endpoint_router.adapters.envoy.messages import Cluster, ClusterLoadAssignment, Listener, Runtime
from arks.endpoint_router.adapters.envoy_config import SnapshotEnvoyConfig
from arks.endpoint_router.adapters.xds import CLUSTER, ENDPOINT, LISTENER, RUNTIME, ConfigSnapshot
from arks.endpoint_router.testing.harness import RouterHarness
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.key import Key
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.golden import assert_golden, cases

GOLDEN = Path(__file__).parent / "golden"
USAGE_LOG = "/var/lib/arks/usage.log"
REPORTS_EACH_SECOND = 4


def resources(case: dict[str, Any], clock: FakeClock) -> dict[str, Any]:
    """Return the snapshot after the inputs: the gateway's own resources if the case has settings of it."""
    snapshot = ConfigSnapshot()
    envoy = SnapshotEnvoyConfig(snapshot, lambda: None)
    if "gateway" in case:
        envoy.set_gateway(gateway_settings(case["gateway"]), token_quota_cluster("token-quota.arks.svc", 8090))
    harness = RouterHarness(clock, envoy)
    if "endpoint" in case:
        endpoint = ArksEndpoint.from_dict(case["endpoint"])
        harness.endpoints.put(endpoint)
    for fields in case.get("facts", ()):
        fact = ParseDict(fields, ReplicasFact())
        harness.replicas.apply(Key(fact.namespace, fact.application), fact)
    harness.router.start()
    for load in case.get("loads", ()):
        report(harness, **load)
    harness.router.tick()
    envoy.push_limits()
    limits = {name: value for layer in dump(snapshot, RUNTIME, Runtime) for name, value in layer["layer"].items()}
    return {
        "weights": weights(harness),
        "clusters": dump(snapshot, CLUSTER, Cluster),
        "endpoints": dump(snapshot, ENDPOINT, ClusterLoadAssignment),
        "limits": dict(sorted(limits.items())),
        "listeners": dump(snapshot, LISTENER, Listener),
    }


def gateway_settings(fields: dict[str, Any]) -> GatewaySettings:
    source = fields.pop("certificate_source", None)
    return GatewaySettings(USAGE_LOG, certificate_source=PurePath(source) if source else None, **fields)


def report(harness: RouterHarness, fields: dict[str, Any], seconds: float = 20.0, age_seconds: float = 0.0) -> None:
    """Repeat a load report for some seconds; the last one is `age_seconds` old at the end."""
    for _ in range(int(seconds * REPORTS_EACH_SECOND)):
        harness.clock.advance(1 / REPORTS_EACH_SECOND)
        load = ParseDict(fields, LoadReport())
        load.measured_at.FromDatetime(harness.clock.now())
        harness.handle_load(load)
    for _ in range(int(age_seconds)):
        harness.clock.advance(1.0)
        harness.router.tick()


def weights(harness: RouterHarness) -> dict[str, str]:
    """Return weight and reason of each replica."""
    return {
        candidate.replica.id.name: f"{candidate.weight}: {candidate.explanation()}"
        for _, decision in harness.router.decisions()
        for candidate in decision.candidates
    }


def dump(snapshot: ConfigSnapshot, type_: str, kind: type[Message]) -> list[dict[str, Any]]:
    packed = snapshot.resources(type_).values()
    text = [to_json(kind.FromString(resource.value)) for resource in packed]
    return [json.loads(each, object_pairs_hook=in_one_order) for each in text]


def in_one_order(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Sort the metadata of each filter: members of a Struct have another order in each process."""
    members = dict(pairs)
    if "filter_metadata" in members:
        metadata = {name: dict(sorted(struct.items())) for name, struct in sorted(members["filter_metadata"].items())}
        members["filter_metadata"] = metadata
    return members


@pytest.mark.parametrize("case", cases(GOLDEN, ".in.yaml"))
def test_envoy_gets_the_reviewed_resources(case: str, clock: FakeClock) -> None:
    found = resources(yaml.safe_load((GOLDEN / f"{case}.in.yaml").read_text()), clock)
    text = yaml.safe_dump({name: part for name, part in found.items() if part}, sort_keys=False, width=120)
    assert_golden(GOLDEN / f"{case}.out.yaml", text)
