"""Which engines need /dev/shm: those of which several processes share a model, or KV states. Pure."""

from collections.abc import Sequence

from arks.app_deployer.domain.launch.options import largest_of
from arks.app_deployer.domain.launch.profiles import SharedMemory

VOLUME = "arks-shm"
PATH = "/dev/shm"  # noqa: S108  # where the C library looks for it


def is_needed(memory: SharedMemory | None, tensor_parallel_size: int | None, arguments: Sequence[str]) -> bool:
    """`memory`: of the runtime's profile. `arguments`: the user's, which may want several processes too."""
    if memory is None:
        return False
    return memory.always or (tensor_parallel_size or 1) > 1 or largest_of(arguments, memory.options) > 1
