"""Measures hundreds of applications on Kubernetes: start, idle cost, requests to the API server, time of changes.

usage: python -m bench.kubernetes [--help]

A real etcd and kube-apiserver, NATS, Redis-compatible server and Envoy, and the five services as processes with the
accounts of the chart. kubelet, volumes and LeaderWorkerSet's controller are simulated, and a fake engine answers at one
address per application. Everything shares this machine's cores with the API server, so CPU seconds are printed beside
seconds.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from arks.kit.testing.wait import eventually
from bench.audit import AuditLog, Call
from bench.scale import changes
from bench.scale.cluster import EVERYTHING, TOKENS_EACH, Cluster, Tenant, namespaces
from bench.scale.gateway import Gateway
from bench.scale.platform import platform
from bench.scale.services import NAMES, Services

_FIRST = 50
"""Tenants of the first part. The cost per object must be the same with ten times as many."""
_NAMESPACES = 20
_CONVERGED_SECONDS = 240.0
_SAMPLE = 50
_CLIENTS = 16
_LOOK_SECONDS = 0.05
_SETTLE_SECONDS = 15.0


class Bench:
    def __init__(self, cluster: Cluster, services: Services, gateway: Gateway, options: argparse.Namespace) -> None:
        self._cluster = cluster
        self._services = services
        self._gateway = gateway
        self._options = options
        self._audit = AuditLog(cluster.server.audit_log)
        self._tenants = [Tenant(number, _NAMESPACES) for number in range(options.number)]

    async def run(self) -> None:
        await self._cluster.create(namespaces(_NAMESPACES))
        await self._services.start()
        await self._fill()
        for what in ("facts are kept", "facts are lost"):
            await self._services.stop()
            if what == "facts are lost":
                await self._services.nats.kill()
                await asyncio.to_thread(_empty, self._services.nats.directory / "jetstream")
                await self._services.nats.restart()
            await self._cold_start(what)
            if what == "facts are kept":
                await self._idle()
        await self._changes()

    # --- creation of objects

    async def _fill(self) -> None:
        few, many = self._tenants[:_FIRST], self._tenants[_FIRST:]
        self._audit.new_calls()
        calls = [await self._add(part) for part in (few, many) if part]
        print(f"\nrequests to the API server for each of the first {len(few)} and of the next {len(many)} tenants")
        print("(a tenant: model, application, endpoint, quota, 4 tokens, from their creation until all are Ready)")
        _print_calls(calls, [len(few), len(many)])

    async def _add(self, tenants: Sequence[Tenant]) -> Counter[Call]:
        objects = [created for tenant in tenants for created in tenant.objects(self._options.keys == "secrets")]
        before, began = self._services.costs(), time.monotonic()
        await self._cluster.create(objects)
        written = time.monotonic()
        number = tenants[-1].number + 1
        for kind, of_each, condition in EVERYTHING:
            await self._cluster.until(kind, of_each * number, condition, _CONVERGED_SECONDS)
            print(f"{number} {kind.plural} are ready {time.monotonic() - written:.1f} s after the last was created")
        print(f"{len(objects)} objects were created in {written - began:.1f} s; CPU seconds of the services:")
        _print_row({name: cpu - before[name] for name, cpu in self._services.costs().items()}, "{:.1f}")
        await asyncio.sleep(_SETTLE_SECONDS)  # Kubernetes Events and usage in status follow later
        return self._audit.new_calls()

    # --- cold start

    async def _cold_start(self, what: str) -> None:
        self._audit.new_calls()
        began = time.monotonic()
        await self._services.start()
        effects = self._until(self._all_served), self._until(self._sample_admitted)
        routed, admitted, *at = await asyncio.gather(*effects, *map(self._until_ready, NAMES))
        marks = dict(zip(NAMES, at, strict=True))
        cpu = self._services.costs()
        refused = await self._refused()
        print(f"\ncold start of everything, {what}: seconds")
        print(f"  Envoy has all {len(self._tenants)} endpoints after {routed - began:.2f}")
        print(f"  keys are admitted after {admitted - began:.2f} ({len(refused)} of all keys refused afterwards)")
        print("  ready:")
        _print_row({name: at - began for name, at in marks.items()}, "{:.2f}")
        print("  CPU seconds until then:")
        _print_row(cpu, "{:.2f}")
        assert not refused, refused[:5]
        await asyncio.sleep(_SETTLE_SECONDS)
        print("requests to the API server since, in all:")
        _print_calls([self._audit.new_calls()], [1])

    async def _until_ready(self, name: str) -> float:
        return await self._until(lambda: self._services.ready(name))

    async def _until(self, condition: Callable[[], Awaitable[bool]]) -> float:
        """The time when the condition became true. Polls slowly, because the polled programs have other work."""

        async def later() -> bool:
            await asyncio.sleep(_LOOK_SECONDS)
            return await condition()

        await eventually(later, within_seconds=_CONVERGED_SECONDS)
        return time.monotonic()

    async def _all_served(self) -> bool:
        number = len(self._tenants)
        return await self._gateway.clusters() >= number and await self._gateway.served() >= number

    async def _sample_admitted(self) -> bool:
        """Tries one key alone first, so that a starting gateway does not get fifty requests at each poll."""
        if await self._request(self._tenants[-1], TOKENS_EACH - 1) != 200:
            return False
        step = max(1, len(self._tenants) // _SAMPLE)
        requests = [self._request(tenant, which % TOKENS_EACH) for which, tenant in enumerate(self._tenants[::step])]
        return all(status == 200 for status in await asyncio.gather(*requests))

    async def _refused(self) -> list[tuple[str, int]]:
        """Tries every key. Returns (token, status) of those that are not admitted."""
        waiting = ((tenant, which) for tenant in self._tenants for which in range(TOKENS_EACH))
        refused = []

        async def try_keys() -> None:
            for tenant, which in waiting:
                if (status := await self._request(tenant, which)) != 200:
                    refused.append((tenant.token(which), status))

        await asyncio.gather(*(try_keys() for _ in range(_CLIENTS)))
        return refused

    async def _request(self, tenant: Tenant, which: int) -> int:
        return await self._gateway.request(tenant.secret_key(which), tenant.name)

    # --- idle

    async def _idle(self) -> None:
        self._audit.new_calls()
        before, began = self._services.costs(), time.monotonic()
        await asyncio.sleep(self._options.seconds)
        after, seconds = self._services.costs(), time.monotonic() - began
        print(f"\nidle, over {seconds:.0f} s: % of a core")
        _print_row({name: 100 * (after[name] - before[name]) / seconds for name in after}, "{:.2f}")
        print("resident megabytes")
        _print_row(self._services.sizes(), "{:.0f}")
        print("requests to the API server a second")
        _print_calls([self._audit.new_calls()], [seconds])

    # --- changes

    async def _changes(self) -> None:
        times, api = self._options.changes, self._cluster.api
        print(f"\nfrom a change to its effect, {times} times: milliseconds, p50 and p99")
        for what, taken in (
            ("weight of an endpoint -> Envoy", await changes.weights(api, self._gateway, self._tenants, times)),
            ("limit of a token -> enforced", await changes.limits(api, self._gateway, self._tenants[1], times)),
            ("token deleted -> 401", await changes.revocations(api, self._gateway, self._tenants[:times], 2)),
        ):
            ordered = sorted(1000 * seconds for seconds in taken)
            p99 = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
            print(f"  {what:<34}{statistics.median(ordered):>8.1f}{p99:>8.1f}   longest {ordered[-1]:.1f}")


def _print_row(values: dict[str, float], form: str) -> None:
    print("  " + "".join(f"{name:>17}" for name in values))
    print("  " + "".join(f"{form.format(value):>17}" for value in values.values()))


def _print_calls(counts: Sequence[Counter[Call]], divisors: Sequence[float]) -> None:
    for call in sorted(set().union(*counts)):
        if call.user.startswith("arks-"):
            numbers = "".join(f"{count[call] / by:>10.2f}" for count, by in zip(counts, divisors, strict=False))
            print(f"  {call.user:<22}{call.verb:<8}{call.resource:<48}{numbers}")


def _empty(directory: Path) -> None:
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


async def main(options: argparse.Namespace, directory: Path) -> None:
    async with platform(directory, options.number) as (started, services, gateway):
        await Bench(started, services, gateway, options).run()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure hundreds of applications on Kubernetes.")
    parser.add_argument("--number", type=int, default=500, help="models, applications, endpoints; 4 tokens each")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to measure the idle cost")
    parser.add_argument("--changes", type=int, default=100, help="number of changes of each kind")
    parser.add_argument("--keys", choices=("secrets", "plain"), default="secrets", help="half in Secrets, or none")
    parser.add_argument("--keep", type=Path, help="directory for logs")
    return parser.parse_args()


if __name__ == "__main__":
    given = _options()
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(main(given, given.keep or Path(temporary)))
