"""The steps of `arks up` once the supervisor runs: wait for the services, apply the demo, wait for the first answer."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from arks.local.cli.connection import silence_libraries
from arks.local.cli.failure import Exit, Failure, fail
from arks.local.cli.first_answer import request_answer
from arks.local.cli.output import print_text
from arks.local.cli.progress import Progress, progress
from arks.local.files import credentials
from arks.local.files.paths import Paths
from arks.local.files.state import ServiceState, State
from arks.local.files.state_file import state_if_running
from arks.local.plan import binaries, demo
from arks.local.plan.addresses import GATEWAY, gateway_url

if TYPE_CHECKING:
    from arks.kit.key import Key

_POLL_SECONDS = 0.05
_RETRY_SECONDS = 0.1
_FAILED_SECONDS = 10.0
"""A model or application that is Failed for this long does not recover by itself."""
_NEEDED_FOR_ANSWERS = ("envoy", "endpoint-router", "token-quota")


def bring_up(paths: Paths, state: State, *, with_demo: bool, seconds: float, began: float) -> None:
    """Wait until Arks works and print a summary. `began`: monotonic time of the start. Raises Failure."""
    from arks.local.render.bring_up import summary, summary_with_demo

    with progress(began) as shown:
        asyncio.run(_BringUp(paths, shown).run(with_demo, seconds))
    took, url = time.monotonic() - began, gateway_url(state.ports[GATEWAY])
    if with_demo:
        print_text(summary_with_demo(url, credentials.demo_key(paths), paths.demo_key, took))
    else:
        print_text(summary(url, took))


class _BringUp:
    def __init__(self, paths: Paths, shown: Progress) -> None:
        self._paths = paths
        self._shown = shown
        self._state: State | None = None
        self._resources: dict[str, Mapping[str, Any]] = {}
        """The demo's model and application as last seen, by kind."""

    async def run(self, with_demo: bool, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                group.create_task(self._wait_for_services())
                if with_demo:
                    following = group.create_task(self._apply_demo())
                    await self._wait_for_answer()
                    following.cancel()
        except TimeoutError:
            raise self._timed_out(seconds) from None
        except BaseExceptionGroup as group_error:
            raise _first_error(group_error) from group_error

    async def _wait_for_services(self) -> None:
        """Return when all are ready. Raises Failure if the supervisor ends."""
        while True:
            self._state = state = state_if_running(self._paths)
            if state is None:
                fail("the supervisor ended", f"see {self._paths.log('supervisor')}")
            for service in state.services:
                text = service.address if service.state == ServiceState.READY else service.problem or service.state
                self._shown.step(service.name, text, done=service.state == ServiceState.READY)
            if state.ready():
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def _wait_ready(self, *names: str) -> State:
        """Return when the named services are ready."""
        while True:
            if self._state is not None:
                services = [self._state.service(name) for name in names]
                if all(service is not None and service.state == ServiceState.READY for service in services):
                    return self._state
            await asyncio.sleep(_POLL_SECONDS)

    # --- the demo

    async def _apply_demo(self) -> None:
        """Apply the demo, then show the progress of its model and application until cancelled."""
        from arks.contracts.resources import ArksApplication, ArksModel
        from arks.local.client.store import connect

        silence_libraries()
        state = await self._wait_ready("nats")
        async with connect(self._paths, state.ports["nats"]) as store, asyncio.TaskGroup() as group:
            for resource in _demo_resources(self._paths):
                await store.apply(resource)
            for kind in (ArksModel, ArksApplication):
                group.create_task(self._follow(store.changes(kind), kind.__name__))
            group.create_task(self._fail_with_demo())

    async def _follow(self, changes: "AsyncIterator[tuple[Key, dict[str, Any] | None]]", kind: str) -> None:
        from arks.local.render.bring_up import progress_of

        async for key, resource in changes:
            if resource is None or (key.namespace, key.name) != (demo.NAMESPACE, demo.MODEL):
                continue
            self._resources[kind] = resource
            text, ratio, done = progress_of(resource)
            self._shown.step("model" if kind == "ArksModel" else "application", text, done=done, ratio=ratio)

    async def _fail_with_demo(self) -> None:
        """Raises Failure after the model or application has been Failed for _FAILED_SECONDS."""
        failed_for = 0.0
        while failed_for < _FAILED_SECONDS:
            await asyncio.sleep(0.5)
            phases = {(resource.get("status") or {}).get("phase") for resource in self._resources.values()}
            failed_for = failed_for + 0.5 if "Failed" in phases else 0.0
        raise Failure(f"the demo failed to start\n{self._problems()}", f"see `arks describe application {demo.MODEL}`")

    async def _wait_for_answer(self) -> None:
        state = await self._wait_ready(*_NEEDED_FOR_ANSWERS)
        key = credentials.demo_key(self._paths)
        self._shown.step("first answer", "waiting")
        while True:
            problem = await asyncio.to_thread(request_answer, state.ports[GATEWAY], key)
            if problem is None:
                self._shown.step("first answer", "ok", done=True)
                return
            self._shown.step("first answer", problem)
            await asyncio.sleep(_RETRY_SECONDS)

    # --- failures

    def _timed_out(self, seconds: float) -> Failure:
        return Failure(
            f"Arks is not up after {seconds:g} s\n{self._problems()}",
            "it keeps starting; see `arks status`, or wait longer with --timeout SECONDS",
            Exit.TIMED_OUT,
        )

    def _problems(self) -> str:
        from arks.local.render.bring_up import problems

        return problems(self._state.services if self._state else (), self._resources)


def _demo_resources(paths: Paths) -> list[Any]:
    from arks.contracts.api_key import hash_key
    from arks.contracts.resources import KINDS

    key_hash = hash_key(paths.pepper.read_bytes().strip(), credentials.demo_key(paths))
    manifests = demo.manifests(binaries.demo_model(), key_hash)
    return [KINDS[manifest["kind"]].from_dict(dict(manifest)) for manifest in manifests]


def _first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a group, or in a group within it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
