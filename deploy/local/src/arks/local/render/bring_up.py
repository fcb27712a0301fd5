"""`arks up`: the progress of services, model and application, what keeps them from working, and the summary."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arks.contracts.quantities import human_bytes
from arks.local.files.state import Service, ServiceState
from arks.local.plan import demo
from arks.local.render.plain import Object, parse_time
from arks.local.render.quantities import duration

USEFUL_MODEL = "Qwen/Qwen2.5-0.5B-Instruct-GGUF"
"""A small model that answers well enough to be useful, for the example of `arks run`."""


def services_progress(services: Sequence[Service]) -> tuple[str, float, bool]:
    """Progress of all services: text, ratio (0 to 1), and whether all are ready."""
    waiting = [service for service in services if service.state != ServiceState.READY]
    ready = len(services) - len(waiting)
    text = f"{ready} of {len(services)} ready"
    if waiting:
        text += f"; {waiting[0].state}: {', '.join(service.name for service in waiting)}"
    return text, ready / max(1, len(services)), not waiting


def progress_of(resource: Object, started: float = 0.0) -> tuple[str, float | None, bool]:
    """Progress of a model or application: text, ratio (0 to 1) if known, and whether it is ready.

    `started`: when Arks started, in seconds since the epoch. Replicas that were ready before that are of its last run.
    """
    status = resource.get("status") or {}
    phase = status.get("phase", "Pending")
    if phase in {"Ready", "Running"} and _is_current(resource, status):
        if phase == "Ready" or _ready_since(status) >= int(started):
            return phase, None, True
        return "starts again", None, False
    download = status.get("progress") or {}
    ratio = download["percent"] / 100 if "percent" in download else None
    parts = [phase] if ratio is None else []
    if ratio is not None:
        parts.append(f"{human_bytes(download.get('doneBytes', 0))} of {human_bytes(download.get('totalBytes', 0))}")
    if speed := download.get("bytesPerSecond"):
        parts.append(f"{human_bytes(speed)}/s")
    if remaining := download.get("remainingSeconds"):
        parts.append(f"{duration(remaining)} left")
    parts += [condition["message"] for condition in _not_true(status) if condition.get("message")][:1]
    return ", ".join(parts), ratio, False


def _is_current(resource: Object, status: Mapping[str, Any]) -> bool:
    """Whether the status describes the present spec, and replicas are ready if it counts them."""
    generation = resource["metadata"].get("generation")
    return bool(status.get("observedGeneration") == generation and status.get("readyReplicas", 1) > 0)


def _ready_since(status: Mapping[str, Any]) -> float:
    """When the condition Ready became True, in seconds since the epoch; endless if that is unknown."""
    ready = (item for item in status.get("conditions", []) if item["type"] == "Ready")
    since = next((parse_time(item.get("lastTransitionTime")) for item in ready), None)
    return float("inf") if since is None else since.timestamp()


def problems(services: Iterable[Service], resources: Mapping[str, Object], waits_for: str = "") -> str:
    """What is not ready and why, one per line. `resources`: by kind. `waits_for`: the step that is not done."""
    lines: list[str] = []
    for service in services:
        if service.state != ServiceState.READY:
            lines += [f"  {service.name}: {service.state}, {service.problem or 'no problem known'}"]
            lines += [f"    {line}" for line in service.last_lines]
    for kind, resource in resources.items():
        status = resource.get("status") or {}
        lines += [
            f"  {kind} {resource['metadata']['name']}: {condition.get('reason')}: {condition.get('message')}"
            for condition in _not_true(status)
        ]
        lines += [
            f"    {instance['name']}: {instance.get('message')}"
            for instance in status.get("instances", [])
            if instance.get("message")
        ]
    if not lines and waits_for:
        lines.append(f"  {waits_for}")
    return "\n".join(lines)


def _not_true(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [condition for condition in status.get("conditions", []) if condition["status"] != "True"]


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo as the summary shows it."""

    key: str
    """As it is printed: masked, unless the user wants to see it."""
    key_file: Path
    changed: Sequence[str]
    """Kinds that the user has changed."""
    answers: bool
    """False if the user has scaled it to 0."""


def masked(key: str) -> str:
    """Enough of a key to recognise it, too little to use it. A short key is hidden completely."""
    return f"{key[:7]}…{key[-4:]}" if len(key) >= 32 else "…"


def summary(url: str, took_seconds: float, path_note: str = "") -> str:
    return f"""
Arks is up ({took_seconds:.1f} s).

  URL    {url}

Next:
  {_command(f"arks run {USEFUL_MODEL}")}serve a model (about 500 MB)
  {_command("arks apply -f FILE")}serve models from manifests
{path_note}"""


def summary_with_demo(url: str, shown: Demo, took_seconds: float, path_note: str = "") -> str:
    head = "Arks is up and its model answers" if shown.answers else "Arks is up"
    return f"""
{head} ({took_seconds:.1f} s).

  URL    {url}
  Key    {shown.key}   (in {shown.key_file})
  Model  {_model(shown)}

Try it:
{demo.curl(url, shown.key_file)}

Next:
  {_command('arks chat "Hello"')}chat with the demo
  {_command(f"arks run {USEFUL_MODEL}")}serve a useful model (about 500 MB)
  {_command('eval "$(arks env)"')}let OpenAI's SDKs use it
  arks get all, arks top, arks usage, arks down
{path_note}"""


def _command(line: str) -> str:
    """A command in its column."""
    return line.ljust(43)


def _model(shown: Demo) -> str:
    if not shown.answers:
        return f"{demo.MODEL}, which you have scaled to 0: `arks scale app {demo.MODEL} 1` starts it"
    if shown.changed:
        return f"{demo.MODEL}; you have changed the demo ({', '.join(shown.changed)}), so it was not touched"
    return f"{demo.MODEL}, a toy of 135M parameters: fast and often wrong"
