"""What load reports of many endpoints cost endpoint-router, and how soon Envoy has the weights that follow.

usage: python -m bench.reports [--endpoints 1000] [--replicas 8] [--hertz 4] [--idle-hertz 0.5] [--busy 0.1]
       [--seconds 20]

A real router and Envoy over a real NATS; reports come from this process, spread evenly over time. Every second
replica of a busy endpoint is four times slower, and loads and queues are random, so that weights change; those of the
other endpoints are idle, which metrics reports every 2 s. Times are those of the router's own histogram: they begin at
the earliest moment at which a report can have come, because the router reads reports at intervals.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from arks.contracts.facts import ReplicaFact, ReplicaState
from arks.contracts.subjects import RESOURCES_BUCKET, Facts, fact_key, load_subject, resource_key
from arks.endpoint_router.config import Settings
from arks.endpoint_router.programs.bootstrap import bootstrap_json
from arks.endpoint_router.testing.program import envoy_line
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.bus import Bus, to_json
from arks.kit.ports import free_port
from arks.kit.testing.servers import nats_server, serve
from arks.kit.testing.wait import eventually
from bench.gateway.resources import NAMESPACE, connected
from bench.process_cost import cpu_seconds, resident_megabytes
from bench.routing.platform import service

QUIET_SECONDS = 35.0
"""Replicas are idle for long enough to count as quiet, and the statuses of the start are written: the first reports
change all of them, and with 1,000 endpoints each is written every 20 s at most."""


class Reports:
    """The load of all endpoints."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._replicas = options.replicas
        self._random = random.Random(1)  # noqa: S311  # a simulation
        self.busy = round(options.busy * options.endpoints)
        self._totals: dict[tuple[int, int], list[float]] = {}
        self.published = 0

    def payload(self, number: int, seconds: float) -> bytes:
        now = datetime.now(UTC)
        report = LoadReport(namespace=NAMESPACE, application=f"m{number}")
        report.measured_at.FromDatetime(now)
        for replica in range(self._replicas):
            load = report.replicas.add(name=f"m{number}-{replica}", running_requests=0, waiting_requests=0)
            load.measured_at.FromDatetime(now)
            tokens, finished = totals = self._totals.setdefault((number, replica), [0.0, 0.0])
            load.generation_tokens_total, load.finished_requests_total = tokens, finished
            if number < self.busy:
                slow = replica % 2
                load.running_requests = self._random.randint(4, 16) if not slow else 4
                load.waiting_requests = self._random.choice([0] * 15 + [4])
                totals[0] += (10 if slow else 40) * load.running_requests * seconds
                totals[1] += self._random.random()
        return report.SerializeToString()


async def write_endpoints(bus: Bus, endpoints: int, replicas: int) -> None:
    facts, resources = await bus.bucket(Facts.REPLICAS), await bus.bucket(RESOURCES_BUCKET)
    for number in range(endpoints):
        name, host = f"m{number}", f"127.0.{1 + number // 250}.{number % 250}"
        members = [ReplicaFact(f"{name}-{n}", host, 9000 + n, ReplicaState.READY).to_message() for n in range(replicas)]
        fact = ReplicasFact(namespace=NAMESPACE, application=name, served_model=name, replicas=members)
        await facts.put(fact_key(NAMESPACE, name), to_json(fact))
        manifest = {"metadata": {"name": name, "namespace": NAMESPACE, "generation": 1}, "spec": {}}
        await resources.put(resource_key("arksendpoints", NAMESPACE, name), json.dumps(manifest).encode())


async def publish(bus: Bus, reports: Reports, options: argparse.Namespace) -> None:
    """Publish until cancelled, fewer than wanted if this process is too slow."""
    busy = reports.busy
    cycles = [(0, busy, options.hertz), (busy, options.endpoints - busy, options.idle_hertz)]
    """(first endpoint, endpoints, reports a second of each)"""
    began, counts = time.monotonic(), [0, 0]
    while True:
        passed = time.monotonic() - began
        for cycle, (first, endpoints, hertz) in enumerate(cycles):
            due = min(int(passed * hertz * endpoints), counts[cycle] + 100)
            for count in range(counts[cycle], due):
                number = first + count % endpoints
                await bus.publish(load_subject(NAMESPACE, f"m{number}"), reports.payload(number, 1 / hertz))
            reports.published += due - counts[cycle]
            counts[cycle] = due
        await asyncio.sleep(0.002)


async def updates(client: aiohttp.ClientSession, port: int) -> dict[float, float]:
    """Return how many changes of endpoints Envoy had acknowledged within each of the histogram's times."""
    async with client.get(f"http://127.0.0.1:{port}/metrics") as answer:
        page = await answer.text()
    return {
        float(sample.labels["le"]): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "arks_xds_update_seconds_bucket" and sample.labels["type"] == "ClusterLoadAssignment"
    }


def bound(before: dict[float, float], after: dict[float, float], part: float) -> float:
    """Return the least of the histogram's times within which this part of the changes was acknowledged."""
    counts = {limit: count - before.get(limit, 0.0) for limit, count in after.items()}
    total = max(counts.values(), default=0.0)
    return next((limit for limit, count in sorted(counts.items()) if total and count >= part * total), 0.0)


async def main(options: argparse.Namespace) -> None:
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        nats = await stack.enter_async_context(nats_server(directory / "nats"))
        bus = await stack.enter_async_context(connected(nats.port))
        client = await stack.enter_async_context(aiohttp.ClientSession())
        await write_endpoints(bus, options.endpoints, options.replicas)
        xds, health, admin = free_port(), free_port(), free_port()
        settings: dict[str, object] = {
            "NATS_URL": f"nats://127.0.0.1:{nats.port}",
            "STATE_DIR": directory,
            "LOG_LEVEL": "warning",
            "XDS_PORT": xds,
            "HTTP_PORT": health,
            "GATEWAY_PORT": free_port(),
            "USAGE_LOG": directory / "usage.log",
        }
        router = await stack.enter_async_context(service(directory, "endpoint_router", xds, settings))
        bootstrap = directory / "envoy.json"
        bootstrap.write_text(bootstrap_json(Settings(xds_port=xds, envoy_admin_port=admin)))
        (directory / "envoy").mkdir()
        await stack.enter_async_context(serve(envoy_line(bootstrap), admin, directory / "envoy"))

        async def complete() -> bool:
            async with client.get(
                f"http://127.0.0.1:{admin}/stats?filter=cluster_manager.(active|warming)_clusters"
            ) as got:
                lines = dict(line.split(": ") for line in (await got.text()).splitlines())
            active = int(lines["cluster_manager.active_clusters"])
            return active >= options.endpoints and lines["cluster_manager.warming_clusters"] == "0"

        await eventually(complete, within_seconds=120, what="Envoy has endpoints")
        reports = Reports(options)
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(publish(bus, reports, options))
            await asyncio.sleep(QUIET_SECONDS)
            before = await updates(client, health)
            cpu, began, published = cpu_seconds(router), time.monotonic(), reports.published
            await asyncio.sleep(options.seconds)
            cost, seconds, count = cpu_seconds(router) - cpu, time.monotonic() - began, reports.published - published
            after = await updates(client, health)
            publishing.cancel()
        print(
            f"{options.endpoints} endpoints x {options.replicas} replicas, {options.busy:.0%} busy, "
            f"{count / seconds:.0f} reports/s: {cost / seconds:.0%} of a core ({1e6 * cost / count:.0f} us a report), "
            f"{resident_megabytes(router):.0f} MB; {after.get(float('inf'), 0) - before.get(float('inf'), 0):.0f} "
            f"changes, acknowledged by Envoy within {1e3 * bound(before, after, 0.5):.0f} ms (p50), "
            f"{1e3 * bound(before, after, 0.99):.0f} ms (p99)",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.reports", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--endpoints", type=int, default=1_000)
    parser.add_argument("--replicas", type=int, default=8)
    parser.add_argument("--hertz", type=float, default=4.0, help="reports a second of each application")
    parser.add_argument("--idle-hertz", type=float, default=0.5, help="those of applications without load")
    parser.add_argument("--busy", type=float, default=0.1, help="part of the endpoints with load")
    parser.add_argument("--seconds", type=float, default=20.0)
    asyncio.run(main(parser.parse_args()))
