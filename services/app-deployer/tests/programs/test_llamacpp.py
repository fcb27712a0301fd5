import asyncio
import signal
import sys
from pathlib import Path

import httpx
import pytest

from arks.app_deployer.adapters.local import gguf
from arks.app_deployer.domain.launch.llamacpp_options import context_tokens, parser
from arks.app_deployer.programs import llamacpp
from arks.app_deployer.testing.engine_server import engine_server
from arks.kit.testing.servers import small_model
from arks.kit.testing.wait import eventually


def _options(*arguments: str) -> list[str]:
    return ["--model", str(small_model()), "--port", "0", *arguments]


def test_a_model_that_does_not_fit_is_refused_with_numbers() -> None:
    options = parser().parse_args(_options("--ctx-size", "2000000000"))
    with pytest.raises(gguf.BadModelFile, match=r"takes \d+ MiB with 2000000000 tokens of context, \d+ MiB of memory"):
        llamacpp.check(options)


def test_a_smaller_kv_type_takes_less_memory() -> None:
    at_16_bits = parser().parse_args(_options("-c", "40000000"))
    with pytest.raises(gguf.BadModelFile):
        llamacpp.check(at_16_bits)
    assert small_model() == llamacpp.check(parser().parse_args(_options("-c", "4096", "-ctk", "q8_0"))).path


def test_default_context_is_4096_tokens_a_slot() -> None:
    assert 8192 == context_tokens(parser().parse_args(_options("--parallel", "2")))
    assert 100 == context_tokens(parser().parse_args(_options("-c", "100")))


@pytest.mark.parametrize("wrong", [("--parallel", "0"), ("--no-such-option",), ("--cache-type-k", "f17")])
def test_a_wrong_option_ends_with_status_2_and_one_line_that_names_it(
    wrong: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        llamacpp.main(_options(*wrong))
    assert 2 == caught.value.code
    (line,) = capsys.readouterr().err.splitlines()
    assert wrong[0] in line


async def _run(*arguments: str) -> tuple[int, list[str]]:
    """Status and lines of stderr of the program."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "arks.app_deployer.programs.llamacpp", *arguments, stderr=asyncio.subprocess.PIPE
    )
    _, stderr = await program.communicate()
    return program.returncode or 0, stderr.decode().splitlines()


@pytest.mark.real
async def test_a_missing_a_corrupt_and_a_cut_off_file_end_it_with_one_line(tmp_path: Path) -> None:
    missing, corrupt, cut = tmp_path / "missing.gguf", tmp_path / "corrupt.gguf", tmp_path / "cut.gguf"
    corrupt.write_bytes(b"\0" * 4096)
    with small_model().open("rb") as file:
        cut.write_bytes(file.read(5_000_000))
    expected = {missing: "there is no file", corrupt: "is not a GGUF file", cut: "is cut off"}
    for path, why in expected.items():
        status, lines = await _run("--model", str(path), "--port", "0")
        assert (1, 1) == (status, len(lines))
        assert why in lines[0]
        assert str(path) in lines[0]


@pytest.mark.real
async def test_a_port_in_use_ends_it_with_a_reason() -> None:
    name_taken = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with name_taken:
        port = name_taken.sockets[0].getsockname()[1]
        status, lines = await _run("--model", str(small_model()), "--port", str(port))
    assert 1 == status
    assert "couldn't bind" in "\n".join(lines)
    # llama.cpp writes its log from a thread of its own, in pieces: after which piece the reason comes is chance.
    assert "llamacpp: llama.cpp could not serve" in "\n".join(lines)


@pytest.mark.real
async def test_it_serves_the_api_of_openai_clients(tmp_path: Path) -> None:
    async with (
        engine_server(tmp_path, slots=2) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as client,
    ):

        async def healthy() -> bool:
            return (await client.get("/health")).status_code == 200

        await eventually(healthy)
        chat = {"model": "smollm2", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
        answer = (await client.post("/v1/chat/completions", json=chat)).json()
        assert ("smollm2", 2) == (answer["model"], answer["usage"]["completion_tokens"])
        text = (await client.post("/v1/completions", json={"prompt": "hi", "max_tokens": 2})).json()
        assert 2 == text["usage"]["completion_tokens"]
        assert 2 == len((await client.get("/slots")).json())
        assert "llamacpp:requests_processing" in (await client.get("/metrics")).text
        assert 501 == (await client.post("/v1/embeddings", json={"input": "hi"})).status_code
        assert 404 == (await client.get("/")).status_code


@pytest.mark.real
async def test_with_embeddings_it_serves_both_vectors_and_text() -> None:
    port_line = "serves"
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "arks.app_deployer.programs.llamacpp"),
        *_options("--embeddings", "--parallel", "1"),
        stderr=asyncio.subprocess.PIPE,
    )
    assert program.stderr is not None
    try:
        while port_line not in (line := (await program.stderr.readline()).decode()):
            assert line
        async with httpx.AsyncClient(base_url=line.split(" at ")[1].strip(), timeout=60) as client:
            vector = (await client.post("/v1/embeddings", json={"input": "hi"})).json()["data"][0]["embedding"]
            assert 576 == len(vector)
            assert 200 == (await client.post("/v1/completions", json={"prompt": "hi", "max_tokens": 1})).status_code
    finally:
        program.terminate()
        assert -signal.SIGTERM == await program.wait()
