"""The whole service with real engines and a small real model."""

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from arks.contracts.resources import ApplicationPhase, ArksApplicationStatus
from arks.kit.reconcile import Key

if TYPE_CHECKING:
    from conftest import Deployer

pytestmark = pytest.mark.real
APP = Key("default", "app")


def conditions(status: ArksApplicationStatus) -> dict[str, tuple[str, str]]:
    return {one.type: (one.status.value, one.reason) for one in status.conditions}


def message(status: ArksApplicationStatus, type_: str = "Ready") -> str:
    return next(one.message for one in status.conditions if one.type == type_)


def engine_pid(deployer: "Deployer", replica: str) -> int:
    return int(json.loads((deployer.engines / "default" / "app" / replica / "state.json").read_text())["pid"])


async def test_an_application_runs_when_its_model_has_answered(deployer: "Deployer") -> None:
    await deployer.start()
    await deployer.apply()
    status = await deployer.until(lambda status: status.phase is ApplicationPhase.RUNNING, what="Running")
    assert (1, 1, 1, 1) == (
        status.replicas,
        status.ready_replicas,
        status.updated_replicas,
        status.observed_generation,
    )
    assert {
        "Precheck": ("True", "PrecheckPass"),
        "Loaded": ("True", "ModelLoadSucceeded"),
        "Ready": ("True", "Running"),
    } == conditions(status)
    (instance,) = status.instances
    async with httpx.AsyncClient(timeout=20) as client:
        chat = {"model": "smollm2", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
        answer = await client.post(f"http://{instance.address}/v1/chat/completions", json=chat)
    assert ("smollm2", 3) == (answer.json()["model"], answer.json()["usage"]["completion_tokens"])
