"""The request for a download of a source."""

from dataclasses import dataclass

from arks.model_manager.domain.credentials import Credentials
from arks.model_manager.domain.garbage import DEFAULT_WATERMARKS, Watermarks
from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.domain.weights_source import WeightsSource


@dataclass(frozen=True, slots=True)
class Limits:
    """Of every download."""

    connections: int
    """Streams at once."""
    bytes_per_second: int | None
    """Of all streams of one download; None: as fast as it goes."""
    reserve_bytes: int
    """Space that stays free on the disk."""
    marks: Watermarks = DEFAULT_WATERMARKS


def request_of(
    source: WeightsSource, directory: str, credentials: Credentials, limits: Limits, *, store: str, stores: str = ""
) -> DownloadRequest:
    """`store`: directory in which models share equal files. `stores`: with those of other namespaces on the disk."""
    return DownloadRequest(
        directory=directory,
        fingerprint=source.fingerprint,
        repository=source.repository,
        endpoint=source.endpoint,
        revision=source.revision,
        allow_patterns=source.allow_patterns,
        ignore_patterns=source.ignore_patterns,
        kind=source.kind,
        region=source.region,
        files=source.files,
        credentials=dict(credentials),
        connections=limits.connections,
        bytes_per_second=limits.bytes_per_second,
        reserve_bytes=limits.reserve_bytes,
        store=store,
        stores=stores,
        high_percent=limits.marks.high_percent,
        low_percent=limits.marks.low_percent,
    )
