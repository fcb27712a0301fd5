"""`arks status`: whether Arks is up, its URLs, and its problems."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from arks.contracts.quantities import human_bytes
from arks.local.files.paths import Paths
from arks.local.files.state import Service, ServiceState, State
from arks.local.plan import demo
from arks.local.plan.addresses import GATEWAY, gateway_url
from arks.local.plan.programs import FULL_DISK_BYTES
from arks.local.render.health import Problem, is_ready, problems
from arks.local.render.held import Held, of_autoscalers, sentence
from arks.local.render.held import as_data as held_data
from arks.local.render.kinds import APPLICATION, AUTOSCALER, ENDPOINT, MODEL, Kind
from arks.local.render.plain import Object, camel_case
from arks.local.render.quantities import duration
from arks.local.render.table import UNLIMITED, indented, table

_COUNTED = {MODEL: "model-manager", APPLICATION: "app-deployer", ENDPOINT: "endpoint-router"}
"""Kind -> the service that writes its statuses."""
_LAST_LINES = 3
_MOST_PROBLEMS = 20
"""So that those of hundreds of resources, such as a tenant's, do not push all else off the screen."""


@dataclass(frozen=True, slots=True)
class View:
    """What status shows. `resources` is None if they could not be read; `reading_problem` has the reason."""

    state: State
    paths: Paths
    with_demo: bool
    resources: Mapping[Kind, Sequence[Object]] | None
    free_disk_bytes: int
    free_memory_bytes: int
    reading_problem: str = ""

    @property
    def problems(self) -> list[Problem]:
        found = [_of_service(service) for service in self.state.services if service.state != ServiceState.READY]
        if self.free_disk_bytes < FULL_DISK_BYTES:
            message = f"{human_bytes(self.free_disk_bytes)} free at {self.paths.home}: changes and usage are not stored"
            found.append(Problem("disk", "full", message, "free some space"))
        if self.reading_problem:
            found.append(Problem("resources", "unknown", self.reading_problem, "see `arks logs nats`"))
        return found if self.has_old_statuses else found + problems(self.resources or {})

    @property
    def has_old_statuses(self) -> bool:
        """Whether some statuses are those of the last run, because their services start."""
        return any(map(self.state.starts_first, _COUNTED.values()))

    def held(self, now: float) -> list[Held]:
        """Requests that wait for a replica. `now`: seconds since the epoch."""
        return of_autoscalers((self.resources or {}).get(AUTOSCALER, ()), datetime.fromtimestamp(now, UTC))


def _of_service(service: Service) -> Problem:
    message = "; ".join([service.problem or "not ready yet", *service.last_lines[-_LAST_LINES:]])
    return Problem(f"service {service.name}", str(service.state), message, f"see `arks logs {service.name}`")


def as_data(view: View, now: float) -> Mapping[str, Any]:
    """The data of `-o json`. Fields may be added, never renamed."""
    state, paths = view.state, view.paths
    return {
        "running": True,
        "ready": state.ready(),
        "phase": str(state.phase),
        "pid": state.pid,
        "home": str(paths.home),
        "gateway": {"url": gateway_url(state.ports[GATEWAY]), "port": state.ports[GATEWAY]},
        "usageApi": {"socket": str(paths.token_quota_socket), "url": "http://localhost/v1/usage"},
        "demo": {"model": demo.MODEL, "keyFile": str(paths.demo_key)} if view.with_demo else None,
        "services": [_service(service) for service in state.services],
        "resources": {kind.plural: counts for kind, counts in _counts(view).items()},
        "held": held_data(view.held(now)),
        "freeDiskBytes": view.free_disk_bytes,
        "freeMemoryBytes": view.free_memory_bytes,
        "problems": [camel_case(asdict(problem)) for problem in view.problems],
    }


def _service(service: Service) -> Mapping[str, Any]:
    data: dict[str, Any] = {
        "name": service.name,
        "state": str(service.state),
        "address": service.address,
        "pid": service.pid,
        "restarts": service.restarts,
    }
    if service.problem:
        data |= {"problem": service.problem, "lastLines": list(service.last_lines)}
    return data


def _counts(view: View) -> dict[Kind, dict[str, int]]:
    """What the last run had ready does not count while the service that looks after it starts."""
    return {
        kind: {"ready": 0 if view.state.starts_first(_COUNTED[kind]) else sum(map(is_ready, found)), "all": len(found)}
        for kind, found in (view.resources or {}).items()
        if kind in _COUNTED
    }


def as_text(view: View, now: float, *, services: bool, width: int = UNLIMITED) -> str:
    """`services`: also the table of services with their addresses."""
    found = view.problems
    lines = [
        f"Arks {_summary(view.state, len(found))}, for {duration(now - view.state.started)}",
        f"Gateway   {gateway_url(view.state.ports[GATEWAY])}",
    ]
    if view.with_demo:
        lines.append(f"Demo      model {demo.MODEL}, key in {view.paths.demo_key}")
    lines += [f"Ready     {_ready(view)}", f"Free      {_free(view)}"]
    lines += [f"Held      {sentence(held)}" for held in view.held(now)]
    text = "\n".join([*lines, *_problem_lines(found, width), ""])
    return f"{text}\n{_services(view.state, now)}" if services else text


def _summary(state: State, problem_count: int) -> str:
    if state.phase != "running":
        return f"is {state.phase}"
    if _starts(state):
        return "is starting"
    count = "1 problem" if problem_count == 1 else f"{problem_count} problems"
    return f"is up, {count}" if problem_count else "is up"


def _starts(state: State) -> bool:
    """Whether what is not ready starts for the first time."""
    unready = [service for service in state.services if service.state != ServiceState.READY]
    return bool(unready) and all(state.starts_first(service.name) for service in unready)


def _ready(view: View) -> str:
    ready = sum(service.state == ServiceState.READY for service in view.state.services)
    parts = [f"services {ready}/{len(view.state.services)}"]
    parts += [f"{kind.word}s {counts['ready']}/{counts['all']}" for kind, counts in _counts(view).items()]
    return "   ".join(parts)


def _free(view: View) -> str:
    return f"disk {human_bytes(view.free_disk_bytes)}   memory {human_bytes(view.free_memory_bytes)}"


def _problem_lines(found: Sequence[Problem], width: int) -> list[str]:
    lines = [""] if found else []
    for problem in found[:_MOST_PROBLEMS]:
        line = f"✗ {problem.what}: {problem.state}: {problem.message}"
        wide = len(line) > width
        lines += (
            [f"✗ {problem.what}: {problem.state}", *indented(problem.message, width).splitlines()] if wide else [line]
        )
        lines.append(f"  {problem.next_step}")
    if len(found) > _MOST_PROBLEMS:
        lines.append(f"… and {len(found) - _MOST_PROBLEMS} more: `arks status -o json` has all")
    return lines


def _services(state: State, now: float) -> str:
    rows = [
        (service.name, service.state, duration(now - service.since), service.restarts, service.address)
        for service in state.services
    ]
    return table(("Service", "State", "Age", "Restarts", "Address"), rows)
