"""The proxy and its engine as one program."""

import asyncio
import signal
import sys
from pathlib import Path

import httpx
import pytest

from arks.kit.ports import free_port
from arks.kit.process import spawn
from arks.kit.testing.wait import eventually
from arks.openai_proxy.programs.with_engine import Options, Start, read, starts

SLEEPS = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(600)"


def test_the_engines_command_follows_two_dashes() -> None:
    expected = Options("127.0.0.1", 7, ["engine", "--port", "8"])
    assert expected == read(["--port", "7", "--", "engine", "--port", "8"])


def test_a_command_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read(["--port", "7"])
    assert "ENGINE" in capsys.readouterr().err


def test_decoders_get_the_addresses_of_the_prefillers_and_are_those_that_the_proxy_calls() -> None:
    options = read(
        [
            *("--port", "7", "--prefillers", "2", "--decoders", "1"),
            *("--prefill-arguments", '["--parallel", "2"]', "--decode-arguments", "[]"),
            *("--", "engine", "--model", "m"),
        ]
    )
    ports = iter(range(100, 200))
    called, others = starts(options, lambda: next(ports))
    last = ["--host", "127.0.0.1", "--port"]
    assert [
        Start(
            ["engine", "--model", "m", "--role", "decoder", *last, "102", "--http-port", "0"],
            102,
            "127.0.0.1:100,127.0.0.1:101",
        )
    ] == called
    first = ["engine", "--model", "m", "--parallel", "2", "--role", "prefiller", *last, "100", "--http-port", "0"]
    assert Start(first, 100) == others[0]
    assert 2 == len(others)


@pytest.mark.parametrize("words", [["--decoders", "1"], ["--prefillers", "1"], ["--decode-arguments", "3"]])
def test_half_of_the_options_of_stages_is_a_mistake(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        read(["--port", "7", *words, "--", "engine"])


class Program:
    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.log_file = directory / "log"
        self.pid_file = directory / "pid"

    async def start(self, engine: str) -> asyncio.subprocess.Process:
        program = [sys.executable, "-m", "arks.openai_proxy.programs.with_engine", "--port", str(self.port), "--"]
        return await spawn([*program, sys.executable, "-c", engine, str(self.pid_file)], log_file=self.log_file)

    async def until_it_serves(self) -> None:
        async with httpx.AsyncClient() as http:

            async def answers() -> bool:
                try:
                    return (await http.get(f"http://127.0.0.1:{self.port}/healthz")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(answers, within_seconds=60, what="the API answers")


@pytest.mark.real
async def test_the_end_of_the_engine_ends_the_program(tmp_path: Path) -> None:
    program = Program(tmp_path)
    process = await program.start("raise SystemExit(3)")
    assert 1 == await asyncio.wait_for(process.wait(), 60)
    assert "the engine ended" in program.log_file.read_text()


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_the_end_of_the_program_ends_the_engine(number: int, tmp_path: Path) -> None:
    program = Program(tmp_path)
    process = await program.start(SLEEPS)
    await program.until_it_serves()
    engine = int(await eventually(lambda: program.pid_file.exists() and program.pid_file.read_text(), what="an engine"))
    process.send_signal(number)
    status = await asyncio.wait_for(process.wait(), 60)
    assert status == (0 if number == signal.SIGTERM else -number)
    await eventually(lambda: not Path(f"/proc/{engine}").exists(), what="the engine is gone")
