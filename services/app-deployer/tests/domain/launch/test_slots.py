"""How many requests an engine works on at once, from its command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.app_deployer.domain.launch.slots import slots_in


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["vllm", "serve", "m"], 0),
        (["vllm", "serve", "m", "--max-num-seqs", "64"], 64),
        (["vllm", "serve", "m", "--max-num-seqs=64"], 64),
        (["vllm", "serve", "m", "--max_num_seqs=64", "--data_parallel_size", "2"], 128),
        (["vllm", "serve", "m", "--max-num-seqs", "64", "--data-parallel-size", "4"], 256),
        (["vllm", "serve", "m", "-dp", "2", "--max-num-seqs", "64"], 128),
        (["python3", "-m", "sglang.launch_server", "--max-running-requests", "128", "--dp-size", "2"], 128),
        (["python3", "-m", "arks.ark_engine.main", "--parallel", "6"], 6),
        (["/bin/bash", "-c", "serving.sh leader; python3 -m vllm --model 'a b' --max-num-seqs 64"], 64),
        (["/bin/bash", "-c", "python3 -m dynamo.frontend & python3 -m dynamo.vllm --max-num-seqs 8 & wait -n"], 8),
        (["/bin/bash", "-c", "vllm serve 'm --max-num-seqs 64"], 0),
        (["vllm", "serve", "m", "--max-num-seqs"], 0),
        (["vllm", "serve", "m", "--max-num-seqs", "many"], 0),
        (["vllm", "serve", "m", "--max-num-seqs", "9" * 30], 0),
        (["vllm", "serve", "m", "--max-num-seqs", "9" * 5000], 0),
        (["vllm", "serve", "m", "--max-num-seqs", "64", "--max-num-seqs", "32"], 32),
    ],
)
def test_an_option_of_the_engine_sets_them(command: list[str], expected: int) -> None:
    assert slots_in(command) == expected


def test_a_long_line_for_a_shell_is_not_read() -> None:
    assert slots_in(["bash", "-c", "--max-num-seqs 64 " + "x" * 8_192]) == 0


@given(st.lists(st.sampled_from(["--max-num-seqs", "-dp", "--max-running-requests=8", "4", "-1", "'", " -dp 2 "])))
def test_whatever_a_command_is_the_number_fits_into_a_fact(command: list[str]) -> None:
    assert 0 <= slots_in(command) <= 2**20
