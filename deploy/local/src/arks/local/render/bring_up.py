"""`arks up`: the progress of the demo's model and application, what keeps them from working, and the summary."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from arks.contracts.quantities import human_bytes
from arks.local.files.state import Service, ServiceState
from arks.local.plan import demo
from arks.local.render.quantities import duration
from arks.local.render.resources import Object


def progress_of(resource: Object) -> tuple[str, float | None, bool]:
    """Progress of a model or application: text, ratio (0 to 1) if known, and whether it is ready."""
    status = resource.get("status") or {}
    phase = status.get("phase", "Pending")
    if phase in {"Ready", "Running"}:
        return phase, None, True
    download = status.get("progress") or {}
    ratio = download["percent"] / 100 if "percent" in download else None
    parts = [phase]
    if ratio is not None:
        parts.append(f"{human_bytes(download.get('doneBytes', 0))} of {human_bytes(download.get('totalBytes', 0))}")
    if remaining := download.get("remainingSeconds"):
        parts.append(f"{duration(remaining)} left")
    parts += [condition["message"] for condition in _not_true(status) if condition.get("message")][:1]
    return ", ".join(parts), ratio, False


def problems(services: Iterable[Service], resources: Mapping[str, Object]) -> str:
    """What is not ready and why, one per line. `resources`: the demo's model and application, by kind."""
    lines: list[str] = []
    for service in services:
        if service.state != ServiceState.READY:
            lines += [f"  {service.name}: {service.state}, {service.problem or 'no problem known'}"]
            lines += [f"    {line}" for line in service.last_lines]
    for kind, resource in resources.items():
        status = resource.get("status") or {}
        lines += [
            f"  {kind} {demo.MODEL}: {condition.get('reason')}: {condition.get('message')}"
            for condition in _not_true(status)
        ]
        lines += [
            f"    {instance['name']}: {instance.get('message')}"
            for instance in status.get("instances", [])
            if instance.get("message")
        ]
    return "\n".join(lines)


def _not_true(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [condition for condition in status.get("conditions", []) if condition["status"] != "True"]


def summary(url: str, took_seconds: float) -> str:
    return f"""
Arks is up ({took_seconds:.1f} s).

  URL    {url}

Next: arks apply -f FILE, then arks get all
"""


def summary_with_demo(url: str, key: str, key_file: Path, took_seconds: float) -> str:
    return f"""
Arks is up and its model answers ({took_seconds:.1f} s).

  URL    {url}
  Key    {key}   (stored in {key_file})
  Model  {demo.MODEL}

Try it:

{demo.curl(url, key_file)}

Next: arks chat, arks top, arks get all, arks usage, arks down
"""
