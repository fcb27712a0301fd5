"""A crowd at an endpoint without a replica: who waits, who is refused, what is charged, and when first tokens come.

usage: python -m bench.held [requests] [--slots N] [--known] [--seconds S] [--start S]

Real Envoy with filter and shipper, token-quota, metrics, NATS and Valkey; one simulated engine with slots. What
app-deployer and endpoint-router would write, that the replica is ready, comes `--start` seconds after the autoscaler
wants one, and not before the whole crowd has arrived.
The ideal keeps all slots busy from the first moment on. Slots that the engine does not report (without `--known`) are
found by doubling the requests in flight, which takes half a second a step. Exits with 1 if a request was lost or
charged twice, if more or fewer waited than the bound allows, or if the last first token came later than a second after
1.25 times the ideal and those steps.
"""

import argparse
import asyncio
import math
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from google.protobuf.json_format import Parse
from google.protobuf.message import Message
from nats.js.errors import KeyNotFoundError

from arks.contracts.facts import ReplicaFact, ReplicaState
from arks.contracts.resources import ArksAutoscaler
from arks.contracts.subjects import Facts, fact_key
from arks.endpoint_router.adapters.envoy import Backend, static_cluster
from arks.events.v1.facts_pb2 import EndpointFact, Replica, ReplicasFact, RoutedReplica, ScalingFact
from arks.kit.bus import Bus, to_json
from arks.kit.ports import free_port
from arks.kit.resources import LocalResources
from arks.kit.testing.servers import serve
from arks.kit.testing.wait import eventually
from arks.token_quota.domain.holding import FIRST_REQUESTS
from bench.gateway.resources import FAR_RATES, NAMESPACE, connected, quota, token
from bench.gateway.servers import arks_gateway, service, stores, token_quota, usage_meter
from bench.routing.engine import TOKENS, Spec, as_json

MODEL, APPLICATION, KEY = "chat", "app", "sk-crowd"
BOUND = 512
START_SECONDS = 60
"""Assumed by metrics until a start was measured: refused requests get it as Retry-After."""
STEP_SECONDS = 0.5
"""Until a request that has passed is surely in a load report."""
LATE_SECONDS = 1.0
"""In which a charge too many would arrive."""
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": TOKENS, "stream": True}


@dataclass(frozen=True)
class Crowd:
    """What is measured."""

    requests: int = 1000
    slots: int = 64
    seconds: float = 0.5
    """Of a request in a slot."""
    start_seconds: float = 2.0
    known: bool = False
    """Whether its slots are in the fact of its replicas."""


@dataclass
class Outcome:
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    """Without an answer, or with one that ended early."""
    retry_after: set[str] = field(default_factory=set)
    first_seconds: list[float] = field(default_factory=list)
    """Of each answer, after the replica was ready; sorted."""
    woken_seconds: float = 0.0
    """Until the autoscaler wanted the first replica."""
    most_waiting: float = 0.0
    """In the engine at once."""
    charged: tuple[int, int] = (0, 0)
    """Requests and completion tokens."""

    @property
    def answered(self) -> int:
        return self.statuses[200]

    def faults(self, crowd: Crowd, slack: float = 1.0) -> list[str]:
        """`slack`: times as late as promised first tokens may be, on a busy machine."""
        held = min(crowd.requests, BOUND)
        promised = promised_seconds(crowd, held)
        wrong = {
            f"{self.broken} requests without a whole answer": self.broken > 0,
            f"{self.answered} were answered, {held} may wait": self.answered != held,
            f"statuses {dict(self.statuses)}": set(self.statuses) - {200, 503} != set(),
            f"Retry-After {self.retry_after}": self.retry_after - {str(START_SECONDS)} != set(),
            f"charged {self.charged}, answered {self.answered}": self.charged != (held, held * TOKENS),
            f"last first token after {self.first_seconds[-1:]} s, {promised:.1f} s promised": (
                self.first_seconds[-1:] > [slack * promised]
            ),
        }
        return [text for text, is_wrong in wrong.items() if is_wrong]


def ideal_seconds(crowd: Crowd, held: int) -> float:
    """First token of the last of them, if the slots are never idle."""
    return (math.ceil(held / crowd.slots) - 1) * crowd.seconds + crowd.seconds / TOKENS


def promised_seconds(crowd: Crowd, held: int) -> float:
    steps = 0.0 if crowd.known else math.ceil(math.log2(max(1.0, crowd.slots / FIRST_REQUESTS)))
    return 1.25 * ideal_seconds(crowd, held) + steps * STEP_SECONDS + 1.0


@dataclass(frozen=True)
class System:
    bus: Bus
    client: aiohttp.ClientSession
    gateway_port: int
    quota_port: int
    engine_port: int

    async def put(self, bucket: Facts, name: str, fact: Message) -> None:
        await (await self.bus.bucket(bucket.value)).put(fact_key(NAMESPACE, name), to_json(fact))

    async def scale_to_zero(self) -> None:
        """An idle application whose autoscaler wants no replica."""
        await self.put(Facts.ENDPOINTS, MODEL, EndpointFact(namespace=NAMESPACE, name=MODEL, reason="NoReadyReplicas"))
        await self.put(Facts.REPLICAS, APPLICATION, _replicas())
        objectives = {"timeToFirstTokenMilliseconds": 1000}
        spec = {"target": {"name": APPLICATION}, "minReplicas": 0, "maxReplicas": 1, "objectives": objectives}
        scaler = ArksAutoscaler.from_dict({"metadata": {"name": "crowd", "namespace": NAMESPACE}, "spec": spec})
        await LocalResources(self.bus, ArksAutoscaler).apply(scaler)
        await self.until_wanted(0)

    async def until_wanted(self, replicas: int) -> None:
        bucket = await self.bus.bucket(Facts.SCALING.value)

        async def wanted() -> bool:
            try:
                found = await bucket.get(fact_key(NAMESPACE, "crowd"))
            except KeyNotFoundError:
                return False
            return Parse(found.value or b"{}", ScalingFact()).replicas == replicas

        await eventually(wanted, within_seconds=60, what=f"{replicas} wanted replicas")

    async def replica_ready(self, slots: int = 0) -> None:
        state = ReplicaState.READY
        replica = ReplicaFact(f"{APPLICATION}-0", "127.0.0.1", self.engine_port, state, slots).to_message()
        await self.put(Facts.REPLICAS, APPLICATION, _replicas(replica))
        routed = RoutedReplica(
            application=APPLICATION, name=replica.name, host=replica.host, port=replica.port, weight=1
        )
        await self.put(
            Facts.ENDPOINTS, MODEL, EndpointFact(namespace=NAMESPACE, name=MODEL, ready=True, replicas=[routed])
        )

    async def waiting(self) -> float:
        """Requests that wait in the engine."""
        async with self.client.get(f"http://127.0.0.1:{self.engine_port}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_waiting{"))

    async def usage(self) -> tuple[int, int]:
        async with self.client.get(f"http://127.0.0.1:{self.quota_port}/v1/usage") as answer:
            total = (await answer.json())["total"]
        return total["requests"], total["completionTokens"]


def _replicas(*replicas: Replica) -> ReplicasFact:
    return ReplicasFact(
        namespace=NAMESPACE,
        application=APPLICATION,
        served_model=MODEL,
        runtime="vllm",
        desired=len(replicas),
        replicas=replicas,
    )


@asynccontextmanager
async def system(directory: Path, crowd: Crowd) -> AsyncIterator[System]:
    async with AsyncExitStack() as stack:
        enter, engine_port, health = stack.enter_async_context, free_port(), free_port()
        spec = Spec(engine_port, crowd.slots, crowd.seconds, crowd.seconds / TOKENS)
        (directory / "engine").mkdir()
        line = ["env", f"PYTHONPATH={Path(__file__).parents[1]}", sys.executable, "-m", "bench.routing.engine"]
        await enter(serve([*line, as_json([spec])], engine_port, directory / "engine"))
        data = await enter(stores(directory, [quota(), token("crowd", KEY, [MODEL], FAR_RATES)], [MODEL]))
        bus = await enter(connected(data.nats.port))
        client = await enter(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        await enter(service(data, "arks.metrics.main", "metrics", health, HTTP_PORT=health))
        admission = await enter(token_quota(data, HELD_REQUESTS_PER_ENDPOINT=BOUND))
        await enter(usage_meter(data))
        cluster = static_cluster(f"{NAMESPACE}/{MODEL}", [Backend("127.0.0.1", engine_port)])
        gateway, _ = await enter(arks_gateway(data, [cluster], [admission.port]))
        running = System(bus, client, gateway.port, admission.port, engine_port)
        await running.scale_to_zero()
        yield running


async def measure(running: System, crowd: Crowd) -> Outcome:
    outcome, firsts = Outcome(), list[float]()
    requests = [asyncio.create_task(_request(running, outcome, firsts)) for _ in range(crowd.requests)]
    began = time.monotonic()
    await running.until_wanted(1)
    outcome.woken_seconds = time.monotonic() - began
    await asyncio.sleep(crowd.start_seconds)
    refused = crowd.requests - BOUND
    await eventually(lambda: outcome.statuses[503] >= refused, within_seconds=60, what=f"{refused} refused requests")
    ready = time.monotonic()
    await running.replica_ready(crowd.slots if crowd.known else 0)
    while not all(request.done() for request in requests):
        outcome.most_waiting = max(outcome.most_waiting, await running.waiting())
        await asyncio.sleep(0.05)
    await asyncio.gather(*requests)
    outcome.first_seconds = sorted(first - ready for first in firsts)
    await _charge(running, outcome)
    return outcome


async def _request(running: System, outcome: Outcome, firsts: list[float]) -> None:
    url, headers = f"http://127.0.0.1:{running.gateway_port}/v1/chat/completions", {"authorization": f"Bearer {KEY}"}
    try:
        async with running.client.post(url, json=BODY, headers=headers) as answer:
            outcome.statuses[answer.status] += 1
            if answer.status != 200:
                outcome.retry_after.add(answer.headers.get("retry-after", ""))
                return
            await answer.content.readany()
            firsts.append(time.monotonic())
            await answer.read()
    except aiohttp.ClientError:
        outcome.broken += 1


async def _charge(running: System, outcome: Outcome) -> None:
    """What is charged, once it is as much as was answered, and a moment later."""

    async def charged() -> bool:
        outcome.charged = await running.usage()
        return outcome.charged[0] >= outcome.answered

    await eventually(charged, within_seconds=60, what="every request charged")
    await asyncio.sleep(LATE_SECONDS)
    outcome.charged = await running.usage()


def report(crowd: Crowd, outcome: Outcome) -> list[str]:
    firsts, ideal = outcome.first_seconds, ideal_seconds(crowd, outcome.answered)
    return [
        f"{crowd.requests} requests at once, bound {BOUND}, {crowd.slots} slots of {crowd.seconds} s"
        f"{' that are known' if crowd.known else ''}",
        f"  answered {outcome.answered}, refused {outcome.statuses[503]}, without a whole answer {outcome.broken}",
        f"  charged {outcome.charged[0]} requests and {outcome.charged[1]} tokens ({outcome.answered * TOKENS} made)",
        f"  first token after readiness: first {firsts[0]:.2f} s, half {firsts[len(firsts) // 2]:.2f} s, "
        f"last {firsts[-1]:.2f} s (all slots busy: {ideal:.2f} s, {firsts[-1] / ideal:.2f}x)",
        f"  the autoscaler wanted the first replica after {outcome.woken_seconds:.2f} s",
        f"  most requests waiting in the engine at once: {outcome.most_waiting:.0f}",
    ]


async def main(crowd: Crowd) -> int:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as name:
        async with system(Path(name), crowd) as running:
            outcome = await measure(running, crowd)
    print(*report(crowd, outcome), sep="\n")
    faults = outcome.faults(crowd)
    print(*(f"FAULT: {fault}" for fault in faults), sep="\n")
    return 1 if faults else 0


def arguments() -> Crowd:
    parser = argparse.ArgumentParser(prog="python -m bench.held", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("requests", nargs="?", type=int, default=1000, help="at once (default 1000)")
    parser.add_argument("--slots", type=int, default=64, help="of the engine (default 64)")
    parser.add_argument("--known", action="store_true", help="Arks knows the number of slots")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a request in a slot (default 0.5)")
    parser.add_argument("--start", type=float, default=2.0, help="until the replica is ready (default 2)")
    given = parser.parse_args()
    return Crowd(given.requests, given.slots, given.seconds, given.start, given.known)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments())))
