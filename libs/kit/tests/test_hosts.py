"""Names and the addresses behind them."""

import asyncio
import socket

import pytest

from arks.kit.hosts import EVERY_SECONDS, SOON_SECONDS, Hosts, addresses_of, targets_of


class Names:
    """A name server, and a clock whose pauses the test ends."""

    def __init__(self, **found: list[str] | OSError) -> None:
        self.found = dict(found)
        self.reported: list[list[str]] = []
        self.pauses: list[float] = []
        self._next = asyncio.Semaphore(0)
        self._looked = asyncio.Semaphore(0)

    async def look_up(self, host: str) -> list[str]:
        found = self.found[host]
        if isinstance(found, OSError):
            raise found
        return found

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._looked.release()
        await self._next.acquire()

    def changed(self, addresses: frozenset[str]) -> None:
        self.reported.append(sorted(addresses))

    async def round(self) -> None:
        """One more look-up."""
        await self._looked.acquire()
        self._next.release()
        await self._looked.acquire()
        self._looked.release()

    def hosts(self, *targets: str) -> Hosts:
        return Hosts(targets, self.changed, look_up=self.look_up, sleep=self.sleep)


async def test_addresses_are_reported_when_they_change() -> None:
    names = Names(engines=["10.0.0.1", "10.0.0.2"])
    hosts = names.hosts("engines:62000", "10.0.0.9:7")
    await hosts.start()
    await names.round()
    names.found["engines"] = ["10.0.0.2", "fd00::1"]
    await names.round()
    await hosts.stop()
    first = ["10.0.0.1:62000", "10.0.0.2:62000", "10.0.0.9:7"]
    assert [first, ["10.0.0.2:62000", "10.0.0.9:7", "[fd00::1]:62000"]] == names.reported


@pytest.mark.parametrize(
    ("error", "remaining"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), []),
        (socket.gaierror(socket.EAI_AGAIN, "no server"), ["10.0.0.1:1"]),
        (TimeoutError(), ["10.0.0.1:1"]),
    ],
)
async def test_addresses_stay_while_no_name_server_answers(error: OSError, remaining: list[str]) -> None:
    names = Names(engines=["10.0.0.1"])
    hosts = names.hosts("engines:1")
    await hosts.start()
    names.found["engines"] = error
    await names.round()
    await hosts.stop()
    assert remaining == names.reported[-1]


async def test_a_name_without_addresses_is_looked_up_more_often() -> None:
    names = Names(engines=[])
    hosts = names.hosts("engines:1")
    await hosts.start()
    await names.round()
    names.found["engines"] = ["10.0.0.1"]
    await names.round()
    await hosts.stop()
    assert [SOON_SECONDS, SOON_SECONDS, EVERY_SECONDS] == names.pauses
    assert [[], ["10.0.0.1:1"]] == names.reported


async def test_addresses_are_never_looked_up() -> None:
    names = Names()
    hosts = names.hosts("10.0.0.1:1", "[fd00::1]:2")
    await hosts.start()
    await hosts.stop()
    assert ([["10.0.0.1:1", "[fd00::1]:2"]], []) == (names.reported, names.pauses)


async def test_a_host_with_two_families_counts_once() -> None:
    assert ["127.0.0.1"] == await addresses_of("localhost")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("10.0.0.5", ["10.0.0.5:62000"]),
        ("prefiller:7", ["prefiller:7"]),
        ("a, b:7 ,", ["a:62000", "b:7"]),
        ("fd00::1", ["[fd00::1]:62000"]),
        ("[fd00::1]", ["[fd00::1]:62000"]),
        ("[fd00::1]:7", ["[fd00::1]:7"]),
    ],
)
def test_a_list_names_hosts_with_or_without_ports(text: str, expected: list[str]) -> None:
    assert expected == targets_of(text, 62000)
