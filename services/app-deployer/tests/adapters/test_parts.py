"""What both homes have of the parts: one probe of engines a process, open as long as the other parts run."""

from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from arks.app_deployer.adapters.kubernetes.wiring import kubernetes_parts
from arks.app_deployer.adapters.local.wiring import local_parts
from arks.app_deployer.adapters.parts import Parts
from arks.app_deployer.adapters.probe import HttpProbe
from arks.app_deployer.config import Settings
from arks.app_deployer.main import build
from arks.kit.clock import SystemClock
from arks.kit.home import LocalHome
from arks.kit.kube.api import KubeApi


def on_one_machine(settings: Settings) -> Parts:
    return local_parts(settings, LocalHome("app-deployer", settings), {})


def on_kubernetes(settings: Settings) -> Parts:
    return kubernetes_parts(settings, KubeApi("app-deployer", CollectorRegistry()), SystemClock(), CollectorRegistry())


@pytest.mark.parametrize("make", [on_one_machine, on_kubernetes])
def test_the_probe_starts_before_all_other_parts_and_closes_after_them(
    make: Callable[[Settings], Parts], tmp_path: Path
) -> None:
    parts = make(Settings(state_dir=tmp_path))
    assert (parts.probe.start, parts.probe.close) == (parts.starts[0], parts.stops[0])  # stops run in reverse order


def test_the_whole_service_has_one_probe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[HttpProbe] = []
    monkeypatch.setattr(HttpProbe, "__init__", lambda self, **_: made.append(self))
    settings = Settings(state_dir=tmp_path)
    build(settings, LocalHome("app-deployer", settings))
    assert 1 == len(made)
