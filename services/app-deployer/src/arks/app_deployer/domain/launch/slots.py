"""How many requests an engine works on at once, from the options of its command. Pure.

vLLM and SGLang report it nowhere, and without these options take numbers that depend on version, memory and context. It
is the most that they do: a full KV cache may hold fewer.
"""

import shlex
from collections.abc import Sequence

from arks.app_deployer.domain.launch.options import number_of

_VLLM, _VLLM_ENGINES = ("--max-num-seqs",), ("--data-parallel-size", "-dp")
"""Each of several engines of a replica takes as many (vLLM's `SchedulerConfig`); Dynamo's workers have it too."""
_WHOLE = ("--max-running-requests", "--parallel")
"""Of a replica: SGLang's of all data parallel ranks (each gets `max_running_requests // dp_size` in 0.5), and ARK's."""
_MOST = 2**20
"""No engine works on more requests at once; a fact holds 32 bits."""
_LONGEST_LINE = 8_192
"""Characters. Those who create pods write any line; reading one takes time in proportion to its length."""


def slots_in(words: Sequence[str]) -> int:
    """Return the number that the command of an engine sets; 0 if it sets none.

    `words`: the command with its arguments. A line for a shell (`bash -c LINE`) is read by its words too.
    """
    found = [_with_dashes(word) for text in words for word in _words(text)]
    slots = number_of(found, _VLLM) * (number_of(found, _VLLM_ENGINES) or 1) or number_of(found, _WHOLE)
    return slots if slots <= _MOST else 0


def _words(text: str) -> list[str]:
    """Return the words of a line for a shell; one word if it is none."""
    if " " not in text or len(text) > _LONGEST_LINE:
        return [text]
    try:
        return shlex.split(text)
    except ValueError:  # a quote that does not end
        return [text]


def _with_dashes(word: str) -> str:
    """Return `--max-num-seqs` for `--max_num_seqs`, which vLLM takes too."""
    option, equals, value = word.partition("=")
    return f"{option.replace('_', '-')}{equals}{value}" if option.startswith("--") else word
