"""What a client observed of its request."""

from dataclasses import dataclass


@dataclass(slots=True)
class Outcome:
    number: int
    stream: bool
    max_tokens: int
    body_bytes: int
    began_milliseconds: int
    """Since 1970, as all times here."""
    ended_milliseconds: int = 0
    request_id: str = ""
    """Empty if no head of an answer arrived."""
    status: int = 0
    complete: bool = False
    """The answer arrived to its end."""
    hung_up: bool = False
    events: int = 0
    """With content, that arrived."""
    usage: tuple[int, int] | None = None
    """Prompt and completion tokens in the answer."""

    @property
    def prompt_reservation(self) -> int:
        """Tokens; the rule of token_quota/domain/estimate.py."""
        return -(-self.body_bytes // 4)
