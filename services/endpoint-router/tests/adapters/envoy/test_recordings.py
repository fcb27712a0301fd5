"""Answers of real engines in the filter's readers: recordings/<runtime>-<version>.json, which `python -m bench.record`
writes, and what the gateway makes of them in .out.yaml. REWRITE_GOLDEN=1 writes the outputs again.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from arks.endpoint_router.testing.filter import Meter, read
from arks.endpoint_router.testing.native import call
from arks.kit.testing.golden import assert_golden, cases

RECORDINGS = Path(__file__).parents[2] / "recordings"
RECORDED = cases(RECORDINGS, ".json")


class Recorded(NamedTuple):
    """One request and what the engine answered."""

    path: str
    request: dict[str, Any] | None
    """None if it has no body, or a long one."""
    status: int
    parts: list[bytes]
    is_stream: bool

    def payloads(self) -> list[dict[str, Any]]:
        """The JSON of the answer or of its events."""
        texts = [part.removeprefix(b"data: ").strip() for part in self.parts]
        return [json.loads(text) for text in texts if text != b"[DONE]"]

    def usages(self) -> list[dict[str, int]]:
        """Usage of the whole answer. SGLang 0.4 has that of several answers in the last event of a choice."""
        counted = [payload for payload in self.payloads() if payload.get("usage")]
        whole = [payload for payload in counted if not self.is_stream or not payload["choices"]]
        return [payload["usage"] for payload in whole or (counted if len(counted) == 1 else [])]

    def meter(self, parts: list[bytes]) -> str | None:
        """What is charged if so much of the answer arrives."""
        request = read(json.dumps(self.request).encode())
        assert request is not None
        meter = Meter(stream=self.is_stream, copies=request.get("copies"))
        meter.follow(parts)
        return meter.usage


def recorded(case: str) -> dict[str, Recorded]:
    answers = json.loads((RECORDINGS / f"{case}.json").read_text())
    return {
        title: Recorded(
            answer["path"],
            answer.get("request"),
            answer["status"],
            [f"{event}\n\n".encode() for event in answer["events"]]
            if "events" in answer
            else [answer["body"].encode()],
            "events" in answer,
        )
        for title, answer in answers.items()
    }


def texts(payload: dict[str, Any]) -> int:
    """Choices with generated text in an event."""
    return sum(bool(choice.get("text") or choice.get("delta", {}).get("content")) for choice in payload["choices"])


REFUSED = {"tools, choice without tools"}
"""Requests that no engine gets from the gateway."""
GENERATED = {
    f"{case}, {title}": answer
    for case in RECORDED
    for title, answer in recorded(case).items()
    if answer.status == 200 and answer.request is not None and title not in REFUSED
}


@pytest.mark.parametrize("title", [title for title, answer in GENERATED.items() if answer.usages()])
def test_what_the_engine_counted_is_charged(title: str) -> None:
    answer = GENERATED[title]
    usage = answer.usages()[-1]
    assert f"e,{usage['prompt_tokens']},{usage.get('completion_tokens', 0)}" == answer.meter(answer.parts)


@pytest.mark.parametrize("title", [title for title, answer in GENERATED.items() if answer.is_stream])
def test_a_stream_that_is_cut_is_charged_what_was_delivered_and_never_more_than_was_made(title: str) -> None:
    answer = GENERATED[title]
    payloads, usages = answer.payloads(), answer.usages()
    made = usages[-1]["completion_tokens"] if usages else sum(map(texts, payloads))
    for length in range(len(answer.parts)):
        delivered = sum(map(texts, payloads[:length]))
        charged = int((answer.meter(answer.parts[:length]) or "d,0").split(",")[-1])
        assert delivered <= charged <= made


def operation_of(path: str) -> bytes:
    """The path of the request, or chat for paths that the gateway does not have."""
    made = {"/v1/chat/completions", "/v1/completions", "/v1/embeddings"}
    return (path if path in made else "/v1/chat/completions").encode()


@pytest.mark.parametrize("case", RECORDED)
def test_the_engines_errors_become_these(case: str) -> None:
    shaped = {}
    for title, answer in recorded(case).items():
        if answer.status >= 400:
            status, body = call("openai_error", b"%d" % answer.status, answer.parts[0], operation_of(answer.path))
            shaped[title] = {"status": int(status or b""), **json.loads(body or b"")["error"]}
    assert_golden(RECORDINGS / f"{case}.out.yaml", yaml.safe_dump(shaped, sort_keys=False, width=110))
