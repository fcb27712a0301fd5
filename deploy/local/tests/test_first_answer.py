"""The recording in docs/first-answer.md is what a new user sees. REWRITE_GOLDEN=1 records it again."""

import os
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from arks.local.testing.harness import ArksHarness

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

PAGE = Path(__file__).parents[3] / "docs/first-answer.md"
BEGIN, END = "REWRITE_GOLDEN=1 writes it -->\n```console\n", "```\n<!-- end -->"
COMMANDS = (
    ("chat", "--max-tokens", "24", "Hello, who are you?"),
    ("status",),
    ("get", "all"),
    ("usage",),
)


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArksHarness]:
    harness = ArksHarness(tmp_path_factory.mktemp("first"), {"PATH": f"{tmp_path_factory.mktemp('bin')}:/usr/bin:/bin"})
    yield harness
    harness.down()


def shown(arguments: tuple[str, ...]) -> str:
    words = [f'"{word}"' if " " in word else word for word in arguments]
    return f"$ arks {' '.join(words)}\n"


def as_for_anyone(text: str, harness: ArksHarness) -> str:
    """Without what belongs to this machine."""
    text = text.replace(str(harness.home), "~/.arks").replace(f":{harness.port}", ":8080")
    text = re.sub(r"\n`arks` is not on your PATH.*?\n.*?\n", "\n", text)
    text = re.sub(r"sk-\S{4}…\S{4}", "sk-XBMB…sAJ4", text)
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE).rstrip() + "\n"


def without_measurements(recording: str) -> list[str]:
    """The lines without times, sizes and the answer; the steps of a start end in any order."""
    text = re.sub(r"(\$ arks chat .*?\n).*?(?=\$ arks)", r"\1(answer)\n", recording, flags=re.DOTALL)
    text = re.sub(r"\d+(\.\d+)?(?= ?(s|ms|m|h|GB|MB)\b)", "N", text)
    text = re.sub(r"(?m)^(default +demo +smollm2 |demo {4}\d).*$", r"\1 (sums)", text)
    text = re.sub(r"demo    \d+ .*", "demo (quota)", text)
    text = re.sub(r"at most \d+ requests", "at most N requests", text)
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    steps = [line for line in lines if line.startswith("N s ")]
    return [*sorted(steps), *(line for line in lines if line not in steps and "in flight" not in line)]


def test_the_recording_is_what_a_new_user_sees(harness: ArksHarness) -> None:
    parts = [shown(("up",)) + harness.up()]
    parts += [shown(command) + harness.arks(*command) for command in COMMANDS]
    recording = "\n".join(as_for_anyone(part, harness) for part in parts)
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    recorded, _, after = rest.partition(END)
    if os.environ.get("REWRITE_GOLDEN") == "1":
        PAGE.write_text(f"{before}{BEGIN}{recording}{END}{after}")
        recorded = recording
    assert without_measurements(recorded) == without_measurements(recording)
    assert harness.key not in page


def test_the_program_of_the_page_gets_an_answer(
    harness: ArksHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in harness.arks("env").splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        monkeypatch.setenv(name, value.strip("'\""))
    program = PAGE.read_text().partition("```python\n")[2].partition("```")[0]
    (tmp_path / "program.py").write_text(program.replace("stream=True", "stream=True, max_tokens=12"))
    runpy.run_path(str(tmp_path / "program.py"))
    assert capsys.readouterr().out.strip()
