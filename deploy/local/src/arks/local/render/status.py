"""`arks status`: whether Arks is up, its URLs, and its problems."""

from collections.abc import Mapping
from typing import Any

from arks.local.files.paths import Paths
from arks.local.files.state import Service, ServiceState, State
from arks.local.plan import demo
from arks.local.plan.addresses import GATEWAY, gateway_url
from arks.local.render.quantities import duration
from arks.local.render.table import table


def as_data(state: State, paths: Paths, *, with_demo: bool) -> Mapping[str, Any]:
    """The data of `-o json`. Fields may be added, never renamed."""
    gateway = {"url": gateway_url(state.ports[GATEWAY]), "port": state.ports[GATEWAY]}
    return {
        "running": True,
        "ready": state.ready(),
        "phase": str(state.phase),
        "pid": state.pid,
        "home": str(paths.home),
        "gateway": gateway,
        "demo": {"model": demo.MODEL, "keyFile": str(paths.demo_key)} if with_demo else None,
        "services": [_service(service) for service in state.services],
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


def as_text(state: State, paths: Paths, *, with_demo: bool, now: float) -> str:
    url = gateway_url(state.ports[GATEWAY])
    lines = [f"Arks {_summary(state)}, for {duration(now - state.started)}", f"Gateway  {url}"]
    if with_demo:
        lines += [f"Model    {demo.MODEL}", f"Key      in {paths.demo_key}"]
    rows = [
        (service.name, service.state, duration(now - service.since), service.restarts, service.address)
        for service in state.services
    ]
    text = "\n".join([*lines, "", table(("Name", "State", "Age", "Restarts", "Address"), rows)])
    return text + "".join(_problem(service) for service in state.services)


def _summary(state: State) -> str:
    ready = sum(service.state == ServiceState.READY for service in state.services)
    if state.phase != "running":
        return f"is {state.phase}"
    return "is up" if state.ready() else f"is not all up ({ready} of {len(state.services)} services ready)"


def _problem(service: Service) -> str:
    if not service.problem:
        return ""
    return f"\n{service.name}: {service.problem}\n" + "".join(f"  {line}\n" for line in service.last_lines)
