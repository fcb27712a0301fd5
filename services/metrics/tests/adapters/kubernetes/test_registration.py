"""The APIService trusts our certificate; we recognise the API server by its own."""

import base64
import json
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import pytest
import trustme

from arks.kit.errors import Conflict, NotFound
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.testing.clock import FakeClock
from arks.metrics.adapters.kubernetes.certificates import VALID, ServingTls
from arks.metrics.adapters.kubernetes.registration import API_SERVICE, CONFIG_MAP, FRONT_PROXY, NAME, Registration

if TYPE_CHECKING:
    from services.metrics.tests.adapters.kubernetes.conftest import FakeApi

SERVICE = Key("arks-system", "arks-metrics")


def registration(api: "FakeApi", clock: FakeClock) -> Registration:
    return Registration(cast(KubeApi, api), clock, ServingTls(), SERVICE)


@pytest.fixture
def cluster(api: "FakeApi") -> "FakeApi":
    """With our APIService, and the certificate authority of the API server."""
    service = {"name": SERVICE.name, "namespace": SERVICE.namespace}
    metadata = {"name": NAME, "resourceVersion": "1"}
    api.objects[API_SERVICE.kind, Key("", NAME)] = {"metadata": metadata, "spec": {"service": service}}
    authority = trustme.CA().cert_pem.bytes().decode()
    names = json.dumps(["front-proxy-client"])
    data = {"requestheader-client-ca-file": authority, "requestheader-allowed-names": names}
    api.objects[CONFIG_MAP.kind, FRONT_PROXY] = {"data": data}
    return api


def certificates(cluster: "FakeApi") -> int:
    bundle = cluster.objects[API_SERVICE.kind, Key("", NAME)]["spec"]["caBundle"]
    return base64.b64decode(bundle).count(b"BEGIN CERTIFICATE")


async def test_replicas_add_their_certificates_and_write_once(cluster: "FakeApi", clock: FakeClock) -> None:
    first, second = registration(cluster, clock), registration(cluster, clock)
    for replica in (first, second, first, second):
        await replica.refresh()
    assert (2, ["merge", "merge"]) == (certificates(cluster), cluster.writes)
    assert {"front-proxy-client"} == set(first.names())


async def test_a_certificate_is_renewed_while_the_one_before_is_valid(cluster: "FakeApi", clock: FakeClock) -> None:
    ours = registration(cluster, clock)
    await ours.refresh()
    clock.advance((VALID - timedelta(days=5)).total_seconds())
    await ours.refresh()
    assert 2 == certificates(cluster)
    clock.advance(timedelta(days=6).total_seconds())
    await ours.refresh()
    assert 1 == certificates(cluster)


async def test_a_bundle_that_another_writer_removed_is_written_again(cluster: "FakeApi", clock: FakeClock) -> None:
    ours = registration(cluster, clock)
    await ours.refresh()
    del cluster.objects[API_SERVICE.kind, Key("", NAME)]["spec"]["caBundle"]
    await ours.refresh()
    assert 1 == certificates(cluster)


async def test_the_api_service_of_another_program_is_not_changed(cluster: "FakeApi", clock: FakeClock) -> None:
    cluster.objects[API_SERVICE.kind, Key("", NAME)]["spec"]["service"] = {"name": "keda", "namespace": "keda"}
    with pytest.raises(Conflict, match="keda/keda"):
        await registration(cluster, clock).refresh()
    assert [] == cluster.writes


async def test_a_cluster_that_does_not_aggregate_is_named(api: "FakeApi", clock: FakeClock) -> None:
    with pytest.raises(NotFound, match="aggregate"):
        await registration(api, clock).refresh()
