"""Which slot a generation gets.

A slot keeps the KV state of its last prompt, so a generation gets the free slot whose prompt it shares the most with;
without anything shared, the one that has been free longest.
"""

from collections.abc import Mapping

from arks.engine.v1.ark_pb2 import Generation

SHARED_CHARACTERS = 64
"""Less in common is the chat template's own text: not worth the state of another conversation."""


class Slots:
    def __init__(self, count: int) -> None:
        self.count = count
        self._free: dict[int, str] = dict.fromkeys(range(count), "")
        """Slot -> its last prompt; the longest free slot is first."""

    @property
    def busy(self) -> int:
        return self.count - len(self._free)

    def take(self, prompt: str) -> int | None:
        """None if all slots are busy."""
        slot = choose(self._free, prompt)
        if slot is not None:
            del self._free[slot]
        return slot

    def free(self, slot: int, prompt: str) -> None:
        """`prompt`: what the slot's KV state begins with; empty if that is unknown."""
        self._free[slot] = prompt


def choose(free: Mapping[int, str], prompt: str) -> int | None:
    if not free:
        return None
    shared = {slot: _shared_characters(last, prompt) for slot, last in free.items()}
    best = max(shared, key=lambda slot: shared[slot])
    return best if shared[best] >= SHARED_CHARACTERS else next(iter(free))


def _shared_characters(last: str, prompt: str) -> int:
    return next(
        (at for at, (a, b) in enumerate(zip(last, prompt, strict=False)) if a != b), min(len(last), len(prompt))
    )


def prompt_text(generation: Generation) -> str:
    """What distinguishes prompts; not the text that the model reads."""
    if not generation.HasField("chat"):
        return generation.text
    tools = "".join(f"{tool.name}{tool.parameters_json}" for tool in generation.chat.tools)
    return tools + "".join(f"\n{message.role}: {message.content}" for message in generation.chat.messages)
