"""Rejected requests that may hold a reservation: Redis may have reserved although its answer was lost."""

from collections import deque
from typing import NamedTuple

_MAX_RELEASES = 10_000


class Release(NamedTuple):
    namespace: str
    request_id: str


class ReleaseQueue(deque[Release]):
    """Filled by admission, emptied by the sweeper. Beyond its bound the oldest is dropped and charged in the end."""

    def __init__(self) -> None:
        super().__init__(maxlen=_MAX_RELEASES)
