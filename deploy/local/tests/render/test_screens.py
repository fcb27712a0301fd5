"""docs/screens.md: what the commands show on a small and on a large terminal. REWRITE_GOLDEN=1 writes the page."""

import io
import itertools
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import rich.console

from arks.contracts.resources import ArksApplication, ArksEndpoint, ArksModel, ArksQuota, ArksToken, Resource
from arks.events.v1.facts_pb2 import EndpointFact, RoutedReplica
from arks.kit.testing.golden import assert_golden
from arks.local.cli.chat_session import ChatSession
from arks.local.cli.progress import bars
from arks.local.client.chat_stream import Answer, Messages
from arks.local.files.paths import Paths
from arks.local.files.state import Phase, Service, ServiceState, State
from arks.local.render import bring_up, events, kinds, resources, status, top_screen, usage
from arks.local.render.top import Row

PAGE = Path(__file__).parents[4] / "docs/screens.md"
NOW = datetime(2026, 10, 1, 12, 4, 31, tzinfo=UTC)
SIZES = ((80, 24), (200, 50))
URL = "http://localhost:8080/v1"
PATHS = Paths(Path("/home/ada/.arks"))
SERVICES = (
    "nats", "valkey", "token-quota", "model-manager", "app-deployer", "metrics", "endpoint-router", "usage-meter",
    "usage-shipper", "envoy",
)  # fmt: skip


def resource(kind: type[Resource], name: str, spec: dict[str, object], **status: object) -> dict[str, object]:
    created = (NOW - timedelta(hours=5)).isoformat().replace("+00:00", "Z")
    metadata = {"name": name, "namespace": "default", "generation": 1, "creationTimestamp": created}
    described = {"observedGeneration": 1, **status}
    return {"apiVersion": "arks.ai/v1", "kind": kind.__name__, "metadata": metadata, "spec": spec, "status": described}


def ready(value: str = "True", reason: str = "Ready", message: str = "") -> list[dict[str, object]]:
    at = (NOW - timedelta(minutes=2)).isoformat().replace("+00:00", "Z")
    return [{"type": "Ready", "status": value, "reason": reason, "message": message, "lastTransitionTime": at}]


MODELS = [
    resource(
        ArksModel, "smollm2", {"model": "HuggingFaceTB/SmolLM2-135M-Instruct"},
        phase="Ready", conditions=ready(), sizeBytes=98_400_000,
    ),
    resource(
        ArksModel, "qwen", {"model": "Qwen/Qwen2.5-0.5B-Instruct-GGUF"}, phase="ModelLoading",
        conditions=ready("False", "ModelLoading", "downloading from huggingface.co"),
        progress={
            "percent": 62, "doneBytes": 248_000_000, "totalBytes": 398_000_000, "bytesPerSecond": 31_000_000,
            "remainingSeconds": 5,
        },
    ),
]  # fmt: skip
APPLICATIONS = [
    resource(
        ArksApplication, "smollm2", {"replicas": 2, "runtime": "llamacpp", "model": {"name": "smollm2"}},
        phase="Running", replicas=2, readyReplicas=2, conditions=ready(),
    ),
    resource(
        ArksApplication, "qwen", {"replicas": 1, "runtime": "vllm", "model": {"name": "qwen"}}, phase="Failed",
        replicas=1, readyReplicas=0, conditions=ready(
            "False", "RuntimeNotSupport", "this machine cannot run runtime vllm: it has no GPU; use runtime llamacpp"
        ),
    ),
]  # fmt: skip
CREATING = resource(
    ArksApplication, "smollm2", {"replicas": 1, "runtime": "llamacpp", "model": {"name": "smollm2"}},
    phase="Creating", replicas=1, readyReplicas=0,
    conditions=ready("False", "Starting", "0 of 1 replicas serve: smollm2-0 is loading"),
)  # fmt: skip
ENDPOINTS = [
    resource(
        ArksEndpoint, "smollm2", {"defaultWeight": 1}, conditions=ready(), readyReplicas=2,
        weights=[{"application": "smollm2", "replica": f"smollm2-{number}", "weight": 50} for number in range(2)],
    ),
]  # fmt: skip
TOKENS = [
    resource(
        ArksToken, "ada",
        {"qos": [{
            "arksEndpoint": {"name": "smollm2"}, "quota": {"name": "team"},
            "rateLimits": [{"type": "rpm", "value": 60}, {"type": "tpm", "value": 20_000}],
        }]},
        conditions=ready(),
    )
]  # fmt: skip
QUOTAS = [
    resource(
        ArksQuota, "team", {"period": "month", "quotas": [{"type": "total", "value": 1_000_000}]},
        conditions=ready(), quotaStatus=[{"type": "total", "used": 812_400}],
    )
]  # fmt: skip
EVENTS = [
    ("model.downloading", "qwen", "downloading Qwen/Qwen2.5-0.5B-Instruct-GGUF, 398 MB"),
    ("application.failed", "qwen", "this machine cannot run runtime vllm: it has no GPU; use runtime llamacpp"),
    ("application.scaled", "smollm2", "from 1 to 2 replicas"),
    ("application.replica-started", "smollm2", "smollm2-1 started"),
    ("application.replica-ready", "smollm2", "smollm2-1 serves after 1.4 s"),
    ("endpoint.replica-added", "smollm2", "smollm2-1 of smollm2 takes requests, weight 50"),
    ("quota.exhausted", "team", "1,000,000 of 1,000,000 tokens used; requests get 429 until 2026-11-01"),
]


Step = tuple[str, str, float | None, bool]
"""Name, text, ratio, and whether it is done."""


def progress_lines(width: int, steps: list[Step]) -> str:
    """The last frame of the progress on a terminal."""
    console = rich.console.Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    with bars(console) as shown:
        for name, text, ratio, done in steps:
            shown.step(name, text, ratio=ratio, done=done)
    assert isinstance(console.file, io.StringIO)
    lines = [line for line in _plain(console.file.getvalue()).splitlines() if line.strip()]
    return "".join(f"{line.rstrip()}\n" for line in lines[-len(steps) :])


def starting(width: int, height: int) -> str:
    states = [Service(name, ServiceState.READY, "") for name in SERVICES[:-2]]
    states += [Service(name, ServiceState.STARTING, "", problem="does not listen yet") for name in SERVICES[-2:]]
    steps: list[Step] = [("services", *bring_up.services_progress(states))]
    steps += [(kind, *bring_up.progress_of(found)) for kind, found in (("model", MODELS[0]), ("application", CREATING))]
    return progress_lines(width, steps)


def up(width: int, height: int) -> str:
    states = [Service(name, ServiceState.READY, "") for name in SERVICES]
    steps: list[Step] = [
        ("services", *bring_up.services_progress(states)),
        ("model", *bring_up.progress_of(MODELS[0])),
        ("application", *bring_up.progress_of(APPLICATIONS[0])),
        ("first answer", "ok", None, True),
    ]
    demo = bring_up.Demo("sk-XBMB…sAJ4", PATHS.demo_key, (), answers=True)
    return progress_lines(width, steps) + bring_up.summary_with_demo(URL, demo, 6.1)


def waiting(width: int, height: int) -> str:
    return progress_lines(width, [("model qwen", *bring_up.progress_of(MODELS[1]))])


def _plain(shown: str) -> str:
    """Without the terminal's control sequences, and a clock that stands still."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.replace("\r", "\n"))
    return re.sub(r"[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]", "⠹", re.sub(r"\d:\d\d:\d\d", "0:00:02", text))


def status_text(width: int, height: int) -> str:
    services = tuple(
        Service(name, ServiceState.READY, f"http://127.0.0.1:{20001 + number}", since=NOW.timestamp() - 7200)
        for number, name in enumerate(SERVICES)
    )
    state = State(10, Phase.RUNNING, NOW.timestamp() - 7200, {"gateway": 8080}, services)
    found = {kinds.MODEL: MODELS, kinds.APPLICATION: APPLICATIONS, kinds.ENDPOINT: ENDPOINTS}
    view = status.View(state, PATHS, True, found, 41 * 10**9, 21 * 10**9)
    return status.as_text(view, NOW.timestamp(), services=False, width=width)


def get_all(width: int, height: int) -> str:
    listings = [
        resources.Listing(kind, found)
        for kind, found in (
            (kinds.MODEL, MODELS),
            (kinds.APPLICATION, APPLICATIONS),
            (kinds.ENDPOINT, ENDPOINTS),
            (kinds.TOKEN, TOKENS),
            (kinds.QUOTA, QUOTAS),
        )
    ]
    return resources.tables(listings, NOW, wide=width >= 200, width=width)


def top(width: int, height: int) -> str:
    def row(number: int, running: int, kv_cache_ratio: float, prompt: float, generation: float) -> Row:
        return Row(
            "default", "smollm2", f"smollm2-{number}", "Ready", running, 0, kv_cache_ratio, prompt, generation, 50_000
        )

    rows = [row(0, 2, 0.5, 13.0, 22.0), row(1, 1, 0.25, 4.0, 11.0)]
    routed = [RoutedReplica(name=f"smollm2-{number}", weight=50) for number in range(2)]
    endpoint = EndpointFact(namespace="default", name="smollm2", ready=True, replicas=routed)
    view = top_screen.View("all namespaces", rows, [endpoint], [0, 1, 5, 9, 20, 14, 7, 22, 33] * 22, NOW)
    return "".join(f"{line.text}\n" for line in top_screen.screen(view, width, height))


def chat(width: int, height: int) -> str:
    shown = io.StringIO()
    typed = iter(["What is a lease?", "/help", "/bye"])

    def read_line(prompt: str) -> str:
        line = next(typed)
        shown.write(f"{prompt}{line}\n")
        return line

    def write(text: str) -> None:
        shown.write(text)

    def send(model: str, messages: Messages, answer: Answer) -> Iterator[str]:
        answer.completion_tokens, answer.first_seconds, answer.seconds = 24, 0.12, 0.43
        answer.text = "A lease lets you use something that belongs to another for an agreed time."
        yield answer.text

    ChatSession("qwen", None, send=send, models=lambda: ["qwen"], read_line=read_line, write=write, note=write).run()
    return shown.getvalue()


def used(requests: int, prompt: int, completion: int) -> dict[str, int]:
    counts = {"requests": requests, "promptTokens": prompt, "completionTokens": completion}
    return counts | {"totalTokens": prompt + completion}


def usage_text(width: int, height: int) -> str:
    team_a = used(41_230, 18_200_000, 6_100_000)
    team_b = used(9_870, 7_400_000, 2_500_000)
    items = [
        {"namespace": name, **sums, "bySource": {"engine": sums}}
        for name, sums in (("team-a", team_a), ("team-b", team_b))
    ]
    total = {name: team_a[name] + team_b[name] for name in team_a}
    data = {"items": items, "total": total, "openReservations": 3}
    return usage.as_text(data, ["namespace"], ("2026-10-01", "2026-10-31"))


def events_text(width: int, height: int) -> str:
    text = events.header(clock=True, width=width)
    for number, (kind, name, message) in enumerate(EVENTS):
        at = NOW + timedelta(seconds=7 * number)
        event = events.Event(str(number), at, kind, "default", name, "", message, {})
        text += events.line(event, NOW, width=width, clock=True)
    return text


SCREENS: dict[str, Callable[[int, int], str]] = {
    "arks up, while it starts": starting,
    "arks up": up,
    "arks wait model qwen": waiting,
    "arks status": status_text,
    "arks get all": get_all,
    "arks top": top,
    "arks chat -m qwen": chat,
    "arks usage --month 2026-10 --by namespace": usage_text,
    "arks events -f": events_text,
}
INTRODUCTION = """# Screens of the commands

<!-- Written by deploy/local/tests/render/test_screens.py from fixed data: `make generate` writes it again. -->

What the commands show on a terminal of 80x24 and of 200x50, with example data (`arks get all` with `-o wide` on the
large one). On a terminal problems are red; `NO_COLOR=1` turns colours off. In a pipe `arks up` and `arks wait`
print one line a step.
"""


def page() -> Iterator[str]:
    yield INTRODUCTION
    for command, screen in SCREENS.items():
        yield f"## {command}\n"
        shown = {f"{width}x{height}": screen(width, height) for width, height in SIZES}
        if len(set(shown.values())) == 1:
            shown = {"80x24 and 200x50": shown["80x24"]}
        for size, text in shown.items():
            yield f"{size}:\n\n```\n{text}```\n"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_page_shows_the_screens_of_now() -> None:
    assert_golden(PAGE, "\n".join(page()))


@pytest.mark.parametrize(("command", "size"), list(itertools.product(SCREENS, SIZES)))
def test_a_screen_fits_the_terminal(command: str, size: tuple[int, int]) -> None:
    width, height = size
    lines = SCREENS[command](width, height).splitlines()
    wide = [line for line in lines if len(line) > width]
    assert [] == wide
    assert len(lines) <= height


def test_a_reason_is_complete_on_a_small_terminal() -> None:
    reason = "this machine cannot run runtime vllm: it has no GPU; use runtime llamacpp"
    for text in (get_all(80, 24), status_text(80, 24), events_text(80, 24)):
        assert reason in " ".join(text.split())
