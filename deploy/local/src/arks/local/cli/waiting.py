"""Wait until resources are ready, with their progress."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arks.local.cli.connection import running_state
from arks.local.cli.failure import Exit, fail
from arks.local.cli.home import ClusterHome, Home
from arks.local.cli.progress import progress
from arks.local.cli.reading import read
from arks.local.files.paths import Paths
from arks.local.files.state import NEEDED_FOR_ANSWERS, NEEDED_FOR_STATUSES, ServiceState
from arks.local.render.health import has_failed, is_ready, is_stuck, rolling_out, see_describe, waits_for_start, why
from arks.local.render.kinds import APPLICATION, ARKS_KINDS, DISAGGREGATED, ENDPOINT, Kind

_POLL_SECONDS = 0.3
_FAILED_SECONDS = 10.0
"""What is Failed, or stands still, for this long does not recover by itself."""

Resources = Mapping[Kind, Sequence[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Awaited:
    """One resource that a user waits for, until it is ready or gone."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.word} {self.name}"

    def of(self, resources: Resources) -> dict[str, Any] | None:
        key = (self.namespace, self.name)
        found = resources.get(self.kind, ())
        return next((item for item in found if (item["metadata"]["namespace"], item["metadata"]["name"]) == key), None)


def wait_ready(home: Home, awaited: Sequence[Awaited], seconds: float) -> None:
    """Return when all are ready. Raises Failure if that takes too long, or if something stays failed."""
    began, failed_since = time.monotonic(), float("inf")
    kinds = list(dict.fromkeys(item.kind for item in awaited))
    if ENDPOINT in kinds:
        kinds += [kind for kind in (APPLICATION, DISAGGREGATED) if kind not in kinds]
    with progress(began) as steps:
        _wait_for_services(home, steps, began, seconds)
        while True:
            resources = read(home, kinds)
            pending = [item for item in awaited if not _show(item, item.of(resources), steps)]
            if not pending:
                return
            now = time.monotonic()
            failed = [item for item in pending if _has_failed(item, resources)]
            failed_since = min(failed_since, now) if failed else float("inf")
            if now - failed_since >= _FAILED_SECONDS:
                _fail(failed, resources, "is not ready", Exit.FAILED)
            if now - began >= seconds:
                _fail(pending, resources, f"is not ready after {seconds:g} s", Exit.TIMED_OUT)
            time.sleep(_POLL_SECONDS)


def _wait_for_services(home: Home, steps: Any, began: float, seconds: float) -> None:
    """Return when the services of this machine work, which start with it. Raises Failure if that takes too long."""
    waited = False
    while unready := _unready_services(home):
        waited = True
        steps.step("services", f"starting: {', '.join(unready)}")
        if time.monotonic() - began >= seconds:
            fail(
                f"services are not ready after {seconds:g} s: {', '.join(unready)}", "see `arks status`", Exit.TIMED_OUT
            )
        time.sleep(_POLL_SECONDS)
    if waited:
        steps.step("services", "ready", done=True)


def _unready_services(home: Home) -> list[str]:
    if isinstance(home, ClusterHome):
        return []
    services, needed = running_state(Paths.of(home)).services, {*NEEDED_FOR_STATUSES, *NEEDED_FOR_ANSWERS}
    return [each.name for each in services if each.name in needed and each.state != ServiceState.READY]


def _has_failed(item: Awaited, resources: Resources) -> bool:
    """An endpoint without ready replicas has not failed while an application of its model starts."""
    found = item.of(resources)
    if found is None or not (has_failed(found) or is_stuck(found)):
        return False
    return item.kind is not ENDPOINT or not waits_for_start(found, resources)


def _show(item: Awaited, resource: dict[str, Any] | None, steps: Any) -> bool:
    """Show the progress of a resource; whether it is ready."""
    from arks.local.render.bring_up import progress_of

    if resource is None:
        steps.step(str(item), "does not exist")
        return False
    remaining = rolling_out(resource) if is_ready(resource) else why(resource) or "not ready"
    text, ratio, _ = progress_of(resource)
    shown = remaining if ratio is None else text
    steps.step(str(item), shown if remaining else "ready", done=not remaining, ratio=ratio)
    return not remaining


def _fail(items: Sequence[Awaited], resources: Resources, what: str, code: Exit) -> None:
    lines = []
    for item in items:
        found = item.of(resources)
        reason = "it does not exist" if found is None else why(found) or rolling_out(found)
        lines.append(f"{item} {what}: {reason}")
    first = items[0]
    fail("\n".join(lines), see_describe(first.kind, first.namespace, first.name), code)


def wait_deleted(home: Home, awaited: Sequence[Awaited], seconds: float) -> None:
    """Return when none exists. Raises Failure if that takes too long."""
    began = time.monotonic()
    while True:
        resources = read(home, list(dict.fromkeys(item.kind for item in awaited)))
        existing = [item for item in awaited if item.of(resources) is not None]
        if not existing:
            return
        if time.monotonic() - began >= seconds:
            first = existing[0]
            fail(
                f"{first} still exists after {seconds:g} s",
                f"`arks describe {first} -n {first.namespace}` shows what it waits for",
                Exit.TIMED_OUT,
            )
        time.sleep(_POLL_SECONDS)


def kinds_to_wait_for(kinds: Sequence[str]) -> list[Kind]:
    """The kinds of manifests that get ready: all of Arks, but not Secrets."""
    return [kind for kind in ARKS_KINDS if kind.name in kinds]
