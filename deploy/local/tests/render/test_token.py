from datetime import UTC, datetime
from typing import Any

from arks.local.render.token import as_text

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PREVIOUS = {"tokenHash": "x", "until": "2026-01-02T00:00:00Z"}


def token(reason: str, status: str, **spec: Any) -> dict[str, Any]:
    condition = {"type": "Ready", "status": status, "reason": reason, "message": "its key is rejected"}
    return {
        "kind": "ArksToken",
        "metadata": {"name": "ada", "namespace": "default", "generation": 1},
        "spec": {"qos": [], "previous": [PREVIOUS], **spec},
        "status": {"observedGeneration": 1, "conditions": [condition]},
    }


def test_a_previous_key_works_until_its_time() -> None:
    text = as_text(token("Active", "True"), {}, [], NOW)
    assert ["default/ada  active, expires never", "  a previous key works for another 24h"] == text.splitlines()[:2]


def test_no_key_of_a_revoked_token_works() -> None:
    text = as_text(token("Disabled", "False", disabled=True), {}, [], NOW)
    assert ["default/ada  not active: its key is rejected", ""] == text.splitlines()[:2]
