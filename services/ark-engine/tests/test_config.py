"""Options of the program."""

from pathlib import Path

import pytest

from arks.ark_engine.config import read

MODEL = ["--model", "/models"]


def test_the_defaults_are_those_of_the_page() -> None:
    options = read(MODEL, {})
    assert ("both", Path("/models"), 62000, []) == (options.role, options.model, options.port, options.prefillers)


def test_only_a_decoder_reads_prefill_node_ip() -> None:
    environment = {"PREFILL_NODE_IP": "10.0.0.5"}
    assert ["10.0.0.5:62000"] == read([*MODEL, "--role", "decoder"], environment).prefillers
    assert [] == read([*MODEL, "--role", "prefiller"], environment).prefillers


@pytest.mark.parametrize("arguments", [[], [*MODEL, "--role", "x"], [*MODEL, "--parallel", "0"]])
def test_invalid_options_end_the_program(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read(arguments, {})
    assert "usage: ark-engine" in capsys.readouterr().err
