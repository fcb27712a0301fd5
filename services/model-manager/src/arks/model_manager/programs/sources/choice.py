"""Open the source that a request names. Each library is imported only where its source is used."""

import os

from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.domain.source_kind import SourceKind
from arks.model_manager.programs.sources.source import Source


def open_source(request: DownloadRequest) -> Source:  # a case each
    """Raises DownloadFailed."""
    match request.kind:
        case SourceKind.S3 | SourceKind.GS | SourceKind.AZ:
            from arks.model_manager.programs.sources.object_store import Bucket  # noqa: PLC0415

            return Bucket(request, dict(os.environ))
        case SourceKind.HTTP:
            from arks.model_manager.programs.sources.http import WebFiles  # noqa: PLC0415

            return WebFiles(request)
        case SourceKind.MODELSCOPE:
            from arks.model_manager.programs.sources.modelscope import ModelScope  # noqa: PLC0415

            return ModelScope(request)
        case SourceKind.OCI:
            from arks.model_manager.programs.sources.oci import Artifact  # noqa: PLC0415

            return Artifact(request)
        case _:
            from arks.model_manager.programs.sources.hub import Hub  # noqa: PLC0415

            return Hub(request)
