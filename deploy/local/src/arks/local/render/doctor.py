"""`arks doctor`: what the machine has and what Arks needs. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from arks.contracts.quantities import human_bytes
from arks.local.plan.programs import FULL_DISK_BYTES

LOW_DISK_BYTES = 5 * 10**9
"""Room for one small model and its download."""
LOW_MEMORY_BYTES = 10**9
"""Arks takes 700 MB with its demo."""
MAX_CLOCK_SECONDS = 60.0
"""Limits and expiry dates follow the clock."""


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    level: Level
    text: str
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class Port:
    """The gateway's port."""

    number: int
    user: str | None
    """The program that listens on it; None: it is free."""
    is_ours: bool


def disk(free_bytes: int, path: str) -> Check:
    text = f"{human_bytes(free_bytes)} free at {path}"
    if free_bytes >= LOW_DISK_BYTES:
        return Check("disk", Level.OK, text)
    level = Level.WARNING if free_bytes >= FULL_DISK_BYTES else Level.PROBLEM
    return Check("disk", level, text, "free some space, or choose another disk with --home DIRECTORY")


def memory(free_bytes: int) -> Check:
    text = f"{human_bytes(free_bytes)} available"
    if free_bytes >= LOW_MEMORY_BYTES:
        return Check("memory", Level.OK, text)
    return Check("memory", Level.WARNING, text, "end other programs, or scale applications down with `arks scale`")


def port(found: Port) -> Check:
    if found.is_ours or found.user is None:
        return Check("port", Level.OK, f"{found.number} is {'the gateway' if found.is_ours else 'free'}")
    text = f"{found.number} is in use by {found.user}"
    return Check("port", Level.PROBLEM, text, f"choose another with `arks up --port {found.number + 1}`")


def gpu(has_gpu: bool, programs: Sequence[str]) -> Check:
    """`programs`: installed engines that need a GPU."""
    if not has_gpu:
        return Check("gpu", Level.OK, "none; models run on the processor with runtime llamacpp (GGUF files)")
    if not programs:
        step = "install vllm or sglang on the PATH to use it; llamacpp runs on the processor"
        return Check("gpu", Level.WARNING, "there is one, and no engine for it", step)
    return Check("gpu", Level.OK, f"there is one; engines: {', '.join(programs)}")


def clock(offset_seconds: float | None) -> Check:
    """`offset_seconds`: how far the clock is from a server's; None: no server could be reached."""
    if offset_seconds is None:
        return Check("clock", Level.OK, "not compared: the hub cannot be reached")
    text = f"{abs(offset_seconds):.0f} s from the hub's"
    if abs(offset_seconds) <= MAX_CLOCK_SECONDS:
        return Check("clock", Level.OK, text)
    return Check("clock", Level.PROBLEM, text, "set the clock (timedatectl set-ntp true): limits and expiry follow it")


def hub(url: str, problem: str | None) -> Check:
    if problem is None:
        return Check("hub", Level.OK, f"{url} answers")
    step = "downloads will fail: check the network and HTTPS_PROXY, or serve a local file with `arks run FILE`"
    return Check("hub", Level.WARNING, f"{url}: {problem}", step)


def command(is_found: bool, export: str) -> Check:
    if is_found:
        return Check("command", Level.OK, "`arks` is on the PATH")
    return Check("command", Level.WARNING, "`arks` is not on the PATH", f"run: {export}")


def as_text(checks: Sequence[Check]) -> str:
    signs = {Level.OK: "✓", Level.WARNING: "!", Level.PROBLEM: "✗"}
    lines = []
    for check in checks:
        lines.append(f"{signs[check.level]} {check.name:<9} {check.text}")
        lines += [f"            {check.next_step}"] if check.next_step else []
    return "".join(f"{line}\n" for line in lines)
