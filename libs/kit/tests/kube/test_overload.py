"""The client against an API server that is overloaded or whose connection is half open."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from prometheus_client import CollectorRegistry

from arks.kit.errors import Unavailable
from arks.kit.key import Key
from arks.kit.kube import api as kube_api
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import POD, SECRET
from arks.kit.ports import listening_socket

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def client(handler: Handler, directory: Path, **options: object) -> AsyncIterator[KubeApi]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    listening = listening_socket("127.0.0.1", 0)
    await web.SockSite(runner, listening).start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{listening.getsockname()[1]}"}}],
        "users": [{"name": "me", "user": {"token": "t"}}],
    }
    path = directory / "config"
    path.write_text(yaml.safe_dump(config))
    api = KubeApi("test", CollectorRegistry(), path, **options)  # type: ignore[arg-type]
    await api.start()
    try:
        yield api
    finally:
        await api.stop()
        await runner.cleanup()


def overloaded(times: int, **headers: str) -> Handler:
    remaining = times

    async def handle(request: web.Request) -> web.Response:
        nonlocal remaining
        if remaining:
            remaining -= 1
            return web.json_response({"message": "too many requests"}, status=429, headers=headers)
        return web.json_response({"metadata": {"name": "s"}})

    return handle


async def test_a_429_is_repeated_after_the_pause_that_it_names(tmp_path: Path) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async with client(overloaded(2, **{"Retry-After": "7"}), tmp_path, sleep=sleep) as api:
        assert await api.get(SECRET, Key("a", "s")) is not None
    assert [7.0, 7.0] == pauses


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "3600"}, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}])
async def test_without_a_pause_that_a_request_can_wait_for_it_fails(headers: dict[str, str], tmp_path: Path) -> None:
    async with client(overloaded(1, **headers), tmp_path) as api:
        with pytest.raises(Unavailable, match="too many requests"):
            await api.get(SECRET, Key("a", "s"))


async def test_a_server_that_stays_overloaded_is_an_error_after_a_few_tries(tmp_path: Path) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async with client(overloaded(99, **{"Retry-After": "1"}), tmp_path, sleep=sleep) as api:
        with pytest.raises(Unavailable):
            await api.get(SECRET, Key("a", "s"))
    assert [1.0, 1.0, 1.0] == pauses


async def test_a_watch_that_is_silent_ends_without_an_error_and_so_is_opened_again(tmp_path: Path) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"type": "ADDED", "object": {"metadata": {"name": "p", "resourceVersion": "7"}}}\n')
        await asyncio.sleep(30)
        return response

    async with client(handle, tmp_path, silence_seconds=0.1) as api, asyncio.timeout(10):
        seen = [kind async for kind, _ in api.watch(POD, None, "1")]
    assert ["ADDED"] == seen


def test_a_half_open_watch_is_noticed_within_two_minutes() -> None:
    assert 60 < kube_api.SILENCE_SECONDS < 120
