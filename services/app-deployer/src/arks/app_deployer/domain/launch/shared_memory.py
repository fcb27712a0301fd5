"""Which engines need /dev/shm: those of which several processes share a model, or KV states. Pure."""

from collections.abc import Sequence
from itertools import pairwise

from arks.app_deployer.domain.launch.profiles import SharedMemory

VOLUME = "arks-shm"
PATH = "/dev/shm"  # noqa: S108  # where the C library looks for it


def is_needed(memory: SharedMemory | None, tensor_parallel_size: int | None, arguments: Sequence[str]) -> bool:
    """`memory`: of the runtime's profile. `arguments`: the user's, which may want several processes too."""
    if memory is None:
        return False
    return (
        memory.always
        or (tensor_parallel_size or 1) > 1
        or any(_number(arguments, option) > 1 for option in memory.options)
    )


def _number(arguments: Sequence[str], option: str) -> int:
    """Largest value of `--option 2` or `--option=2`; 0 without one."""
    texts = [after for word, after in pairwise(arguments) if word == option]
    texts += [word.removeprefix(f"{option}=") for word in arguments if word.startswith(f"{option}=")]
    return max((int(text) for text in texts if text.isascii() and text.isdigit()), default=0)
