"""The addresses behind names, looked up again and again.

A headless Service has one address for each ready pod. gRPC's own resolver looks only when a connection breaks, so a new
pod would get no calls.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from arks.kit.tasks import cancel

log = structlog.get_logger(__name__)
EVERY_SECONDS = 5.0
"""Cluster DNS keeps records for as long."""
SOON_SECONDS = 1.0
"""While there is no address: something starts, and requests wait for it."""
LOOK_UP_SECONDS = 5.0
_ABSENT = {socket.EAI_NONAME, socket.EAI_NODATA}
LookUp = Callable[[str], Awaitable[list[str]]]


def targets_of(text: str, default_port: int) -> list[str]:
    """host:port of each host in `text`: separated by commas, each with a port or not, IPv6 in brackets or not."""
    return [_with_port(part.strip(), default_port) for part in text.split(",") if part.strip()]


def _with_port(host: str, port: int) -> str:
    if host.count(":") > 1 and not host.startswith("["):  # an IPv6 address without a port
        return f"[{host}]:{port}"
    return host if ":" in host.rpartition("]")[2] else f"{host}:{port}"


async def addresses_of(host: str) -> list[str]:
    """Addresses of one family, IPv4 if there are any: of a host with both, each would count twice. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    by_family = {
        family: [str(address[0]) for its, _, _, _, address in found if its is family]
        for family in (socket.AF_INET, socket.AF_INET6)
    }
    return by_family[socket.AF_INET] or by_family[socket.AF_INET6]


class Hosts:
    def __init__(
        self,
        targets: Sequence[str],
        changed: Callable[[frozenset[str]], None],
        *,
        look_up: LookUp = addresses_of,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`targets`: host:port each, IPv6 in brackets. `changed` gets all addresses whenever they change."""
        self._targets = [_split(target) for target in targets]
        self._changed = changed
        self._look_up = look_up
        self._sleep = sleep
        self._found: dict[str, list[str]] = {}
        self._current: frozenset[str] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look up all names once, then in the background."""
        await self._look()
        if any(not _is_address(host) for host, _ in self._targets):
            self._task = asyncio.create_task(self._loop())

    async def stop(self) -> None:
        if self._task is not None:
            await cancel(self._task)

    async def _loop(self) -> None:
        while True:
            await self._sleep(EVERY_SECONDS if self._current else SOON_SECONDS)
            await self._look()

    async def _look(self) -> None:
        for host, _ in self._targets:
            await self._look_at(host)
        current = frozenset(
            f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            for host, port in self._targets
            for address in self._found.get(host, [])
        )
        if current != self._current:
            self._current = current
            self._changed(current)

    async def _look_at(self, host: str) -> None:
        """A name without addresses has none; if no server answers, those found before stay."""
        if _is_address(host):
            self._found[host] = [host]
            return
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                self._found[host] = await self._look_up(host)
        except socket.gaierror as error:
            if error.errno in _ABSENT:
                self._found[host] = []
            else:
                log.warning("no name server answers", host=host, error=str(error))
        except (OSError, UnicodeError) as error:  # a timeout, too
            log.warning("name cannot be looked up", host=host, error=str(error) or type(error).__name__)


def _is_address(host: str) -> bool:
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    return False


def _split(target: str) -> tuple[str, str]:
    host, _, port = target.rpartition(":")
    return host.strip("[]"), port
