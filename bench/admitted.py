"""What a gateway admitted, from its usage log."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from arks.token_quota.domain.charge import usage_record
from arks.token_quota.domain.line_reader import ENDS

MINUTE_MILLISECONDS = 60_000


@dataclass(frozen=True)
class Admitted:
    token: str
    with_counters: bool
    """False: by failure policy, because token-quota or the counters did not answer in time."""
    started_milliseconds: int
    """Since 1970."""

    @property
    def minute(self) -> int:
        return self.started_milliseconds // MINUTE_MILLISECONDS


def admitted(usage_log: Path) -> list[Admitted]:
    """All requests of the log and its rotated segments, by their start. Lines that are not whole yet are skipped."""
    return sorted(_read(usage_log), key=lambda request: request.started_milliseconds)


def _read(usage_log: Path) -> Iterator[Admitted]:
    rotated = usage_log.parent.glob(f"{usage_log.name}.[0-9]*")
    for path in (*rotated, usage_log):
        for line in ENDS.read(path.read_bytes()).lines:
            _, record = usage_record(line)
            yield Admitted(record.token, bool(record.lease), record.started_at_milliseconds)
