"""The steps of `arks up` once the supervisor runs: wait for the services, apply the demo, wait for the first answer."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import arks
from arks.local.cli.command_path import command_path_note
from arks.local.cli.connection import silence_libraries
from arks.local.cli.failure import Exit, Failure, fail
from arks.local.cli.first_answer import request_answer
from arks.local.cli.given_options import copyable
from arks.local.cli.output import print_text
from arks.local.cli.progress import Progress, progress
from arks.local.files import credentials
from arks.local.files.installation import has_changed
from arks.local.files.paths import Paths
from arks.local.files.state import NEEDED_FOR_ANSWERS, NEEDED_FOR_STATUSES, ServiceState, State
from arks.local.files.state_file import state_if_running
from arks.local.plan import binaries, demo
from arks.local.plan.addresses import GATEWAY, gateway_url

if TYPE_CHECKING:
    from arks.kit.key import Key
    from arks.local.client.store import Store

_POLL_SECONDS = 0.05
_RETRY_SECONDS = 0.1
_FAILED_SECONDS = 10.0
"""A model or application that is Failed for this long does not recover by itself."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user of `arks up` wants."""

    demo: bool
    show_key: bool
    link: bool
    """Put a link to the command on the PATH if it is not there."""
    seconds: float


def bring_up(paths: Paths, state: State, wishes: Wishes, began: float) -> None:
    """Wait until Arks works and print a summary. `began`: monotonic time of the start. Raises Failure."""
    from arks.local.render.bring_up import Demo, masked, summary, summary_with_demo

    with progress(began) as shown:
        steps = _BringUp(paths, shown)
        asyncio.run(steps.run(wishes.demo, wishes.seconds))
    took, url = time.monotonic() - began, gateway_url(state.ports[GATEWAY])
    path_note = _installation_note(paths, wishes) + command_path_note(link=wishes.link)
    if not wishes.demo:
        print_text(copyable(summary(url, took, path_note)))
        return
    key = credentials.demo_key(paths)
    shown_key = key if wishes.show_key else masked(key)
    found = Demo(shown_key, paths.demo_key, steps.changed, steps.answers)
    print_text(copyable(summary_with_demo(url, found, took, path_note)))


def _installation_note(paths: Paths, wishes: Wishes) -> str:
    """That Arks was running already, and not what is installed now; else empty."""
    if not has_changed(paths, arks.__path__):
        return ""
    return f"""
What runs is not what is installed now. This restarts it, with its data:
  arks down && arks up{"" if wishes.demo else " --no-demo"}
"""


class _BringUp:
    def __init__(self, paths: Paths, shown: Progress) -> None:
        self.changed: list[str] = []
        """Kinds of the demo that the user has changed."""
        self.answers = True
        """Whether the demo is meant to answer."""
        self._paths = paths
        self._shown = shown
        self._state: State | None = None
        self._resources: dict[str, Mapping[str, Any]] = {}
        """The demo's model and application as last seen, by kind."""
        self._applied = asyncio.Event()
        self._waits_for = "the services"

    async def run(self, with_demo: bool, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                following = [group.create_task(self._follow_services())]
                if with_demo:
                    following.append(group.create_task(self._apply_demo()))
                    await self._wait_for_answer()
                self._waits_for = "the services"
                await self._wait_ready()
                for task in following:
                    task.cancel()
        except TimeoutError:
            raise self._timed_out(seconds) from None
        except BaseExceptionGroup as group_error:
            raise _first_error(group_error) from group_error

    async def _follow_services(self) -> None:
        """Show their progress until cancelled, because one may end after it was ready.

        Raises Failure if the supervisor ends.
        """
        from arks.local.render.bring_up import services_progress

        while True:
            self._state = state = state_if_running(self._paths)
            if state is None:
                fail("the supervisor ended", f"see {self._paths.log('supervisor')}")
            text, ratio, done = services_progress(state.services)
            self._shown.step("services", text, done=done, ratio=ratio)
            await asyncio.sleep(_POLL_SECONDS)

    async def _wait_ready(self, *names: str) -> State:
        """Return when the named services are ready; without names, all of them."""
        while True:
            if (state := self._state) is not None:
                named = [service for service in state.services if service.name in names]
                ready = len(named) == len(names) and all(service.state == ServiceState.READY for service in named)
                if ready if names else state.ready():
                    return state
            await asyncio.sleep(_POLL_SECONDS)

    # --- the demo

    async def _apply_demo(self) -> None:
        """Apply the demo, then show the progress of its model and application until cancelled."""
        from arks.contracts.resources import ArksApplication, ArksModel
        from arks.local.client.store import connect

        silence_libraries()
        state = await self._wait_ready("nats")
        async with connect(self._paths, state.ports["nats"]) as store:
            await self._create_missing(store)
            self._applied.set()
            await self._wait_ready(*NEEDED_FOR_STATUSES)
            async with asyncio.TaskGroup() as group:
                for kind in (ArksModel, ArksApplication):
                    group.create_task(self._follow(store.changes(kind), kind.__name__))
                group.create_task(self._fail_with_demo())

    async def _create_missing(self, store: "Store") -> None:
        """Create what does not exist of the demo, and note what its user has changed."""
        from arks.contracts.resources import KINDS
        from arks.kit.key import Key

        for desired in _demo_manifests(self._paths):
            kind, key = KINDS[desired["kind"]], Key(demo.NAMESPACE, desired["metadata"]["name"])
            existing = await store.read(kind, key)
            applied = demo.to_apply(desired, existing)
            if applied is not None:
                await store.apply(kind.from_dict(dict(applied)))
            if demo.is_changed(applied or desired, existing) and applied is None:
                self.changed.append(desired["kind"].removeprefix("Arks").lower())
            if desired["kind"] == "ArksApplication":
                self.answers = demo.answers(existing)

    async def _follow(self, changes: "AsyncIterator[tuple[Key, dict[str, Any] | None]]", kind: str) -> None:
        from arks.local.render.bring_up import progress_of

        async for key, resource in changes:
            if resource is None or (key.namespace, key.name) != (demo.NAMESPACE, demo.MODEL):
                continue
            self._resources[kind] = resource
            text, ratio, done = progress_of(resource, self._state.started if self._state else 0.0)
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
        """Return when the demo has answered, or at once if its user has scaled it to 0."""
        state = await self._wait_ready(*NEEDED_FOR_ANSWERS)
        self._waits_for = "the demo's resources"
        await self._applied.wait()
        if not self.answers:
            return
        key = credentials.demo_key(self._paths)
        self._shown.step("first answer", "waiting")
        while True:
            problem = await asyncio.to_thread(request_answer, state.ports[GATEWAY], key, demo.MODEL)
            if problem is None:
                self._shown.step("first answer", "ok", done=True)
                return
            self._waits_for = f"the demo's first answer: {problem}"
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

        services = self._state.services if self._state else ()
        return problems(services, self._resources, f"it waits for {self._waits_for}")


def _demo_manifests(paths: Paths) -> list[demo.Manifest]:
    from arks.contracts.api_key import hash_key

    key_hash = hash_key(paths.pepper.read_bytes().strip(), credentials.demo_key(paths))
    return demo.manifests(binaries.demo_model(), key_hash)


def _first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a group, or in a group within it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
