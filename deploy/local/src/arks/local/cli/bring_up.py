"""What `arks up` does once the supervisor runs: wait for the services, apply the demo, wait for the first answer."""

import asyncio
import http.client
import json
import time
from collections.abc import Mapping
from typing import Any

from arks.local.cli.common import Exit, Failure, fail, quiet, say
from arks.local.cli.progress import Progress, progress
from arks.local.files import credentials
from arks.local.files.paths import Paths
from arks.local.files.state import ServiceState, State, running
from arks.local.plan import binaries, demo
from arks.local.plan.ports import GATEWAY, HOST
from arks.local.plan.programs import gateway_url

_LOOK_SECONDS = 0.05
_ASK_AGAIN_SECONDS = 0.1
_ANSWER_SECONDS = 60.0
_FAILED_SECONDS = 10.0
"""A model or application that stays Failed for so long will not come by itself."""
_NEEDED_FOR_ANSWERS = ("envoy", "endpoint-router", "token-quota")


def bring_up(paths: Paths, state: State, *, with_demo: bool, seconds: float, began: float) -> None:
    """Raises Failure."""
    with progress(began) as shown:
        asyncio.run(_BringUp(paths, shown).run(with_demo, seconds))
    took = time.monotonic() - began
    url = gateway_url(state.ports[GATEWAY])
    say(_summary_with_demo(paths, url, took) if with_demo else _summary(url, took))


def _summary(url: str, took: float) -> str:
    return f"\nArks is up ({took:.1f} s).\n\n  URL    {url}\n\nNext: arks apply -f FILE, then arks get all\n"


def _summary_with_demo(paths: Paths, url: str, took: float) -> str:
    return f"""
Arks is up and its model answers ({took:.1f} s).

  URL    {url}
  Key    {credentials.demo_key(paths)}   (kept in {paths.demo_key})
  Model  {demo.MODEL}

Try it:

{demo.curl(url, paths.demo_key)}

Next: arks chat, arks top, arks get all, arks usage, arks down
"""


class _BringUp:
    def __init__(self, paths: Paths, shown: Progress) -> None:
        self._paths = paths
        self._shown = shown
        self._state: State | None = None
        self._resources: dict[str, Mapping[str, Any]] = {}
        """What the demo's model and application said last, by kind."""

    async def run(self, with_demo: bool, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                group.create_task(self._services())
                if with_demo:
                    following = group.create_task(self._demo())
                    await self._first_answer()
                    following.cancel()
        except TimeoutError:
            raise self._too_long(seconds) from None
        except BaseExceptionGroup as group_error:
            raise _first(group_error) from group_error

    async def _services(self) -> None:
        """Returns when all are ready."""
        while True:
            self._state = state = running(self._paths)
            if state is None:
                fail("the supervisor ended", f"see {self._paths.log('supervisor')}")
            for service in state.services:
                text = service.address if service.state == ServiceState.READY else service.problem or service.state
                self._shown.step(service.name, text, done=service.state == ServiceState.READY)
            if state.ready():
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _until(self, *names: str) -> State:
        while True:
            if self._state is not None:
                services = [self._state.service(name) for name in names]
                if all(service is not None and service.state == ServiceState.READY for service in services):
                    return self._state
            await asyncio.sleep(_LOOK_SECONDS)

    # --- the demo

    async def _demo(self) -> None:
        """Apply it, then tell how its model and its application do, until cancelled."""
        from arks.contracts.resources import ArksApplication, ArksModel
        from arks.local.client.store import connect

        quiet()
        state = await self._until("nats")
        async with connect(self._paths, state.ports["nats"]) as store, asyncio.TaskGroup() as group:
            for resource in _demo_resources(self._paths):
                await store.apply(resource)
            for kind in (ArksModel, ArksApplication):
                group.create_task(self._follow(store.changes(kind), kind.__name__))
            group.create_task(self._give_up_on_failure())

    async def _follow(self, changes: Any, kind: str) -> None:
        async for key, one in changes:
            if one is None or (key.namespace, key.name) != (demo.NAMESPACE, demo.MODEL):
                continue
            self._resources[kind] = one
            text, ratio, done = tell(one)
            self._shown.step("model" if kind == "ArksModel" else "application", text, done=done, ratio=ratio)

    async def _give_up_on_failure(self) -> None:
        failed_for = 0.0
        while failed_for < _FAILED_SECONDS:
            await asyncio.sleep(0.5)
            phases = {(one.get("status") or {}).get("phase") for one in self._resources.values()}
            failed_for = failed_for + 0.5 if "Failed" in phases else 0.0
        raise Failure(f"the demo does not come up\n{self._troubles()}", f"see `arks describe application {demo.MODEL}`")

    async def _first_answer(self) -> None:
        state = await self._until(*_NEEDED_FOR_ANSWERS)
        key = credentials.demo_key(self._paths)
        self._shown.step("first answer", "asking")
        while True:
            problem = await asyncio.to_thread(_ask, state.ports[GATEWAY], key)
            if problem is None:
                self._shown.step("first answer", "ok", done=True)
                return
            self._shown.step("first answer", problem)
            await asyncio.sleep(_ASK_AGAIN_SECONDS)

    # --- when it does not work

    def _too_long(self, seconds: float) -> Failure:
        return Failure(
            f"Arks is not up after {seconds:g} s\n{self._troubles()}",
            "it goes on trying; see `arks status`, or give it longer with --timeout SECONDS",
            Exit.TIMED_OUT,
        )

    def _troubles(self) -> str:
        lines = []
        for service in self._state.services if self._state else ():
            if service.state != ServiceState.READY:
                lines += [f"  {service.name}: {service.state}, {service.problem or 'no problem known'}"]
                lines += [f"    {line}" for line in service.last_lines]
        for kind, one in self._resources.items():
            status = one.get("status") or {}
            reasons = [c for c in status.get("conditions", []) if c["status"] != "True"]
            lines += [f"  {kind} {demo.MODEL}: {c.get('reason')}: {c.get('message')}" for c in reasons]
            lines += [f"    {i['name']}: {i.get('message')}" for i in status.get("instances", []) if i.get("message")]
        return "\n".join(lines)


def tell(one: Mapping[str, Any]) -> tuple[str, float | None, bool]:
    """Where a model or application is on its way: text, how far (0 to 1) where known, and whether it is there."""
    from arks.local.render.quantities import duration, size

    status = one.get("status") or {}
    phase = status.get("phase", "Pending")
    found = status.get("progress") or {}
    ratio = found["percent"] / 100 if "percent" in found and phase != "Ready" else None
    parts = [phase]
    if ratio is not None:
        parts.append(f"{size(found.get('doneBytes', 0))} of {size(found.get('totalBytes', 0))}")
    if (left := found.get("remainingSeconds")) and phase != "Ready":
        parts.append(f"{duration(left)} left")
    if phase not in {"Ready", "Running"}:
        waiting = [c for c in status.get("conditions", []) if c["status"] != "True" and c.get("message")]
        parts += [waiting[0]["message"]] if waiting else []
    return ", ".join(parts), ratio, phase in {"Ready", "Running"}


def _demo_resources(paths: Paths) -> list[Any]:
    from arks.contracts.resources import KINDS, hash_key

    key = credentials.demo_key(paths)
    hashed = hash_key(paths.pepper.read_bytes().strip(), key)
    return [
        KINDS[manifest["kind"]].from_dict(dict(manifest)) for manifest in demo.manifests(binaries.demo_model(), hashed)
    ]


def _ask(port: int, key: str) -> str | None:
    """One real question to the model. None when it has answered, else what came instead."""
    body = json.dumps({"model": demo.MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]})
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(HOST, port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("POST", "/v1/chat/completions", body, headers)
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    if answer.status == 200:
        return None
    try:
        return f"{answer.status}: {json.loads(text)['error']['message']}"
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status}"


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a group that says what is wrong."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
