"""What a pod runs before it ends, against an engine that reports its requests."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest

from arks.app_deployer.domain.launch import drain
from arks.app_deployer.testing import fake_engine
from arks.kit.ports import free_port

pytestmark = pytest.mark.real
QUIET_SECONDS = 1.0
PATIENCE_SECONDS = 30


@pytest.fixture
def port() -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-I", "-S", fake_engine.__file__, "--port", str(port)])
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    yield port
    process.kill()
    process.wait()


def _publish_change(port: int, what: str) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{what}", method="POST")
    with urllib.request.urlopen(request, timeout=30):  # noqa: S310  # our own http address
        pass


def _drain_engine(port: int, grace_seconds: int, quiet_seconds: float = QUIET_SECONDS) -> subprocess.Popen[bytes]:
    _, *rest = drain.command(port, grace_seconds, quiet_seconds)
    return subprocess.Popen([sys.executable, *rest])


def test_an_idle_engine_is_let_go_when_nothing_has_come_for_a_while(port: int) -> None:
    began = time.monotonic()
    assert 0 == _drain_engine(port, 600).wait(timeout=PATIENCE_SECONDS)
    assert time.monotonic() - began >= QUIET_SECONDS


def test_work_under_way_is_waited_for(port: int) -> None:
    _publish_change(port, "busy/2")
    process = _drain_engine(port, 60)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=2 * QUIET_SECONDS)
    _publish_change(port, "busy/0")
    assert 0 == process.wait(timeout=PATIENCE_SECONDS)


def test_requests_that_came_and_went_between_two_looks_are_work(port: int) -> None:
    process = _drain_engine(port, 60, quiet_seconds=3.0)
    for _ in range(6):
        time.sleep(1.0)  # what is promised is a time without requests
        _publish_change(port, "did/1")
    assert process.poll() is None
    assert 0 == process.wait(timeout=PATIENCE_SECONDS)


def test_the_grace_period_is_the_most_that_is_waited(port: int) -> None:
    _publish_change(port, "busy/2")
    assert 0 == _drain_engine(port, drain.MARGIN_SECONDS + 3).wait(timeout=PATIENCE_SECONDS)


def test_an_engine_without_metrics_is_waited_for_within_the_grace_period() -> None:
    assert 0 == _drain_engine(free_port(), drain.MARGIN_SECONDS + 3).wait(timeout=PATIENCE_SECONDS)
