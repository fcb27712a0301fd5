"""A service becomes ready after its caches, drains running work, and fails if a part of it fails."""

import asyncio
import socket

import aiohttp
import pytest

from arks.contracts.resources import ArksQuota
from arks.kit import app as app_module
from arks.kit.app import App
from arks.kit.home import LocalHome
from arks.kit.key import Key
from arks.kit.ports import free_port
from arks.kit.reconcile import Controller
from arks.kit.settings import Settings
from arks.kit.testing.run import running
from arks.kit.testing.servers import Server
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real


async def _status(port: int, path: str) -> int:
    async with aiohttp.ClientSession() as client:
        try:
            async with client.get(f"http://127.0.0.1:{port}{path}") as response:
                return response.status
        except aiohttp.ClientError:
            return 0


def home_on(settings: Settings, **changes: object) -> LocalHome:
    return LocalHome("test", settings.model_copy(update={"http_port": free_port()} | changes))


async def test_a_service_is_alive_at_once_and_ready_when_nats_and_its_caches_are(
    settings: Settings, nats: Server
) -> None:
    await nats.kill()
    home = home_on(settings)
    home.resources(ArksQuota)
    app, stop = App("test", home), asyncio.Event()
    serving = asyncio.create_task(app.serve(stop))
    port = home.settings.http_port
    await eventually(lambda: _status(port, "/healthz"))
    assert 503 == await _status(port, "/readyz")
    await nats.restart()
    await asyncio.wait_for(app.ready.wait(), 30)
    assert (200, 200) == (await _status(port, "/readyz"), await _status(port, "/metrics"))
    stop.set()
    await serving
    assert 0 == await _status(port, "/healthz")


async def test_running_work_ends_before_the_service_stops(settings: Settings) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def reconcile(_: Key) -> None:
        begun.set()
        await asyncio.sleep(0.2)
        ended.set()

    controller = Controller("slow", reconcile)
    async with running(App("test", home_on(settings), controllers=[controller])):
        controller.enqueue(Key("a", "b"))
        await begun.wait()
    assert ended.is_set()


async def test_a_service_stands_back_for_the_processor_only_when_it_is_ready(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App("test", home_on(settings.model_copy(update={"nice": 7})))
    called: list[tuple[int, bool]] = []

    async def stand_back(nice: int) -> None:
        called.append((nice, app.ready.is_set()))

    monkeypatch.setattr(app_module, "stand_back", stand_back)
    async with running(app):
        await eventually(lambda: bool(called), what="the call")
    assert [(7, True)] == called


async def test_a_background_task_that_fails_ends_the_service(settings: Settings) -> None:
    async def fails() -> None:
        raise ValueError("broken part")

    with pytest.raises(ExceptionGroup) as caught:
        await App("test", home_on(settings), tasks=[fails]).serve(asyncio.Event())
    assert caught.group_contains(ValueError, match="broken part")


async def test_a_port_in_use_is_an_error_that_names_it(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        home = home_on(settings, http_port=taken.getsockname()[1])
        with pytest.raises(OSError, match=str(taken.getsockname()[1])):
            await App("test", home).serve(asyncio.Event())


async def forgetful() -> None:
    """Loses its first cancellation, as NATS' client may."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.Event().wait()


async def test_a_service_that_starts_can_be_stopped_although_a_cancellation_is_lost(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, stop = home_on(settings), asyncio.Event()
    connect = home.start

    async def start() -> None:
        await connect()
        await forgetful()

    monkeypatch.setattr(home, "start", start)
    async with asyncio.timeout(30):
        serving = asyncio.create_task(App("test", home).serve(stop))
        await eventually(lambda: _status(home.settings.http_port, "/healthz"))
        stop.set()
        await serving


async def test_a_task_that_ignores_its_first_cancellation_does_not_delay_the_stop(settings: Settings) -> None:
    async with asyncio.timeout(30), running(App("test", home_on(settings), tasks=[forgetful])):
        pass
