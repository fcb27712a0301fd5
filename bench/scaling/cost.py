"""Measures what autoscalers cost metrics: decisions, and values that HorizontalPodAutoscalers read.

usage: python -m bench.scaling.cost [--number 1000]

Everything around the decisions is in memory, so requests to the API server and NATS are not in the figures. Values are
read over mutual TLS, one connection, as an API server reads them.
"""

import argparse
import asyncio
import gc
import os
import ssl
import time
from datetime import UTC, datetime
from typing import Any, cast

import aiohttp
import trustme
import uvloop

from arks.contracts.facts import ReplicaFact, ReplicaState
from arks.contracts.resources import ArksAutoscaler
from arks.events.v1.facts_pb2 import ReplicasFact, ScalingFact
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.resource_events import ResourceEvents
from arks.kit.status import StatusWriter
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.fakes import FakeFacts, FakePublisher, FakeResources
from arks.metrics.adapters.kubernetes.certificates import ServingTls, self_signed
from arks.metrics.adapters.kubernetes.pod_autoscalers import PodAutoscalers, Written, read
from arks.metrics.api.external_metrics import ExternalMetrics
from arks.metrics.domain.engines import Snapshot
from arks.metrics.domain.rates import Rates
from arks.metrics.domain.replicas import Reading, Replica, ReplicaReport
from arks.metrics.domain.scaling.pod_autoscaler import WANTED, manifest
from arks.metrics.domain.scaling.traffic import Ended
from arks.metrics.service.scaling.applications import Applications
from arks.metrics.service.scaling.autoscalers import DECISIONS_PER_SECOND, Autoscalers
from arks.metrics.service.scaling.targets import Targets
from bench.process_cost import resident_megabytes

ROUNDS, REPLICAS, READS = 60, 2, 3000
POLL_SECONDS = 15.0
"""Interval of HorizontalPodAutoscalers."""
SPEC = {"maxReplicas": 5, "objectives": {"timeToFirstTokenMilliseconds": 800, "slotUsePercent": 80}}
HOST = "arks-metrics.arks-system.svc"


class Watch:
    """Pages of an application's replicas."""

    def __init__(self) -> None:
        self.pages: dict[Replica, ReplicaReport] = {}

    def reports(self) -> dict[Replica, ReplicaReport]:
        return self.pages


class Fleet:
    """Autoscalers of so many applications with two busy replicas each."""

    def __init__(self, number: int) -> None:
        self.clock = FakeClock()
        self.keys = [Key("team", f"app-{index}") for index in range(number)]
        self.watches = {key: Watch() for key in self.keys}
        self.resources, written = FakeResources[ArksAutoscaler](), Cache[Written]()
        facts: Cache[ReplicasFact] = Cache()
        self.applications = Applications(facts, self, self.clock)
        self.scalers = Autoscalers(
            resources=self.resources,
            targets=Targets(self.resources.cache),
            applications=self.applications,
            facts=FakeFacts[ScalingFact](self.clock),
            events=ResourceEvents(FakePublisher()),
            clock=self.clock,
            statuses=StatusWriter(self.resources, self.clock),
            interval_seconds=5.0,
            pod_autoscalers=PodAutoscalers(cast(KubeApi, None), written),
        )
        for index, key in enumerate(self.keys):
            metadata = {"name": key.name, "namespace": key.namespace, "uid": key.name, "generation": 1}
            spec = {"target": {"name": key.name}, **SPEC}
            autoscaler = ArksAutoscaler.from_dict({"metadata": metadata, "spec": spec})
            self.resources.put(autoscaler)
            written.apply(key, read(manifest(autoscaler, to_zero=True)))
            facts.apply(key, _fact(key, index))

    def reports(self, key: Key) -> dict[Replica, ReplicaReport]:
        return self.watches[key].reports()

    def serve(self, turn: int) -> None:
        """Some answers and new pages since the last turn."""
        for index, (key, watch) in enumerate(self.watches.items()):
            snapshot = Snapshot(running_requests=3.0, waiting_requests=0.0, generation_tokens=turn * 100.0)
            report = ReplicaReport(Reading(snapshot, Rates(), self.clock.now(), 0.001), "")
            watch.pages = {Replica(f"{key.name}-{n}", *_address(index, n), 4): report for n in range(REPLICAS)}
            for n in range(REPLICAS):
                host, port = _address(index, n)
                self.applications.take("team", key.name, Ended(f"{host}:{port}", 50, 100, 0.3, 0.02))


def _address(index: int, number: int) -> tuple[str, int]:
    return f"10.{number}.{index // 250}.{index % 250}", 8080


def _fact(key: Key, index: int) -> ReplicasFact:
    replicas = [
        ReplicaFact(f"{key.name}-{n}", *_address(index, n), ReplicaState.READY, slots=4) for n in range(REPLICAS)
    ]
    made = [replica.to_message() for replica in replicas]
    return ReplicasFact(namespace=key.namespace, application=key.name, served_model=key.name, desired=2, replicas=made)


async def decisions(fleet: Fleet) -> float:
    """CPU seconds of a decision, with status, fact and the comparison of its HorizontalPodAutoscaler."""
    spent = 0.0
    interval = max(5.0, len(fleet.keys) / DECISIONS_PER_SECOND)
    for turn in range(ROUNDS):
        fleet.clock.advance(interval)
        fleet.serve(turn)
        began = time.process_time()
        for key in fleet.keys:
            await fleet.scalers.reconcile(key)
        spent += time.process_time() - began
        fleet.resources.statuses.clear()
    return spent / ROUNDS / len(fleet.keys)


def _read_values(port: int, keys: list[Key], tls: ssl.SSLContext) -> None:
    async def read_all() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1, ssl=tls)) as client:
            for number in range(READS):
                key = keys[number % len(keys)]
                path = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{key.namespace}/{WANTED}"
                query = {"labelSelector": f"autoscaler={key.name}"}
                url = f"https://127.0.0.1:{port}{path}"
                async with client.get(url, params=query, server_hostname=HOST) as answer:
                    body: dict[str, Any] = await answer.json()
                    assert len(body["items"]) == 1, body

    asyncio.run(read_all())


async def reads(fleet: Fleet) -> float:
    """CPU seconds of the thread that answers, a read value."""
    authority, certificate, tls = trustme.CA(), self_signed(HOST, datetime.now(UTC)), ServingTls()
    tls.use(certificate, authority.cert_pem.bytes().decode())
    client = ssl.create_default_context(cadata=certificate.pem)
    authority.issue_cert("front-proxy").configure_cert(client)
    server = ExternalMetrics(fleet.resources.cache, fleet.clock, host="127.0.0.1", port=0, names=frozenset)
    port = await server.start(tls.context)
    began = time.thread_time()
    await asyncio.to_thread(_read_values, port, fleet.keys, client)
    spent = time.thread_time() - began
    await server.stop()
    return spent / READS


async def main(number: int) -> None:
    before = resident_megabytes(os.getpid())
    fleet = Fleet(number)
    decision = await decisions(fleet)
    gc.collect()
    megabytes = resident_megabytes(os.getpid()) - before
    read_seconds = await reads(fleet)
    a_second = min(DECISIONS_PER_SECOND, number / 5.0)
    polls = number / POLL_SECONDS
    print(f"{number} autoscalers of {REPLICAS} replicas each:")
    print(f"decisions    {decision * 1e3:.3f} ms each, {a_second:.0f} a second: {decision * a_second:.2%} of a core")
    print(f"values read  {read_seconds * 1e3:.3f} ms each, {polls:.0f} a second: {read_seconds * polls:.2%} of a core")
    print(f"memory       {megabytes:.0f} MB more than without, the fakes' included")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=1000)
    uvloop.run(main(parser.parse_args().number))
