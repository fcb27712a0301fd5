"""What a new user gets wrong while Arks runs: messages as they come from gateway, hub and engines. REWRITE_GOLDEN=1
writes the table.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from arks.app_deployer.domain import checks
from arks.contracts.resources import QuotaType, RateLimitType
from arks.kit.testing.golden import assert_golden
from arks.local.cli.chat import explain_error
from arks.local.client import hub
from arks.local.render import health, kinds
from arks.token_quota.domain import answers
from arks.token_quota.domain.limits import Rates, RateUse, Violation

GOLDEN = Path(__file__).parent / "golden" / "mistakes-while-running.txt"
MIB = 2**20
Message = tuple[str, str]
"""The message and the next step."""


def chat(rejection: answers.Rejection) -> Message:
    return explain_error(rejection.status, rejection.body.decode(), "qwen")


def over(limit: RateLimitType | QuotaType, most: int, resets_after_seconds: int | None, quota: str = "") -> Message:
    violation = Violation(limit, most, most, 1, resets_after_seconds, quota)
    return chat(answers.over_limit([violation], Rates(rpm=most), RateUse(), 0.0))


def hub_answer(answer: httpx.Response | httpx.HTTPError) -> Message:
    def get(*_: object, **__: object) -> httpx.Response:
        if isinstance(answer, httpx.HTTPError):
            raise answer
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx, "get", get)
        with pytest.raises(hub.HubProblem) as raised:
            hub.files_of(None, "Qwen/Qwen2.5", None)
    return str(raised.value), raised.value.next_step


def status(kind: kinds.Kind, reason: str, message: str, spec: Mapping[str, Any] | None = None) -> Message:
    """The problem as `arks status` shows it."""
    condition = {"type": "Ready", "status": "False", "reason": reason, "message": message}
    found = {
        "kind": kind.name,
        "metadata": {"name": "qwen", "namespace": "default", "generation": 1},
        "spec": spec or {},
        "status": {"phase": "Failed", "observedGeneration": 1, "conditions": [condition]},
    }
    (problem,) = health.problems({kind: [found], kinds.ENDPOINT: []})
    return f"{problem.what}: {problem.state}: {problem.message}", problem.next_step


def no_memory() -> Message:
    refusal = checks.memory_refusal(1500 * MIB, 500 * MIB, 4096 * MIB, 3584 * MIB)
    return status(kinds.APPLICATION, refusal.reason, refusal.message)


MISTAKES: dict[str, Callable[[], Message]] = {
    "arks chat -m qwen, with a mistyped key": lambda: chat(answers.unknown_key()),
    "arks chat -m qwen, with a revoked key": lambda: chat(answers.disabled_key()),
    "arks chat -m qwen, with an expired key": lambda: chat(answers.expired_key()),
    "arks chat -m qwen, with a key for another model": lambda: chat(answers.forbidden_model("qwen")),
    "arks chat -m qwen, which does not exist": lambda: chat(answers.unknown_model("qwen")),
    "arks chat -m qwen, too often in a minute": lambda: over(RateLimitType.RPM, 60, 19),
    "arks chat -m qwen, the budget is used up": lambda: over(QuotaType.TOTAL, 1_000_000, None, "team"),
    "arks chat -m qwen, before it is loaded": lambda: chat(
        answers.endpoint_not_ready("qwen", "qwen (0 of 1 replicas ready, 100%)")
    ),
    "arks chat -m qwen, its token names no ArksQuota": lambda: chat(answers.quota_missing("team")),
    "arks run Qwen/Qwen2.5, without network": lambda: hub_answer(
        httpx.ConnectError("[Errno -2] Name or service not known")
    ),
    "arks run Qwen/Qwen2.5, mistyped": lambda: hub_answer(httpx.Response(404)),
    "arks run Qwen/Qwen2.5, a gated repository": lambda: hub_answer(httpx.Response(401)),
    "arks status, with too little memory": no_memory,
    "arks status, with a token for an endpoint that does not exist": lambda: status(
        kinds.TOKEN, "EndpointNotFound", "endpoint nothere does not exist"
    ),
}


def test_each_mistake_has_a_message_and_a_next_step() -> None:
    parts = []
    for mistake, message in MISTAKES.items():
        text, next_step = message()
        assert text
        assert next_step, mistake
        parts.append(f"# {mistake}\n{text}\n      {next_step}\n")
    assert_golden(GOLDEN, "\n".join(parts))
