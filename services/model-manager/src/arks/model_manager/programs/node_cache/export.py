"""Serve one model of a PVC to agents: `python -m arks.model_manager.programs.node_cache.export`.

Runs in the model's namespace, with the key of that namespace only, and mounts the PVC read-only.
"""

import asyncio
from pathlib import Path

from aiohttp import web

from arks.model_manager.config import ExportSettings
from arks.model_manager.programs.node_cache.routes import ModelFiles, listening
from arks.model_manager.programs.termination import end_at_sigterm


def build(settings: ExportSettings) -> web.Application:
    own = settings.export_namespace, settings.export_model
    files = ModelFiles(
        lambda namespace: settings.export_key if namespace == settings.export_namespace else None,
        lambda namespace, model: Path(settings.export_path) if (namespace, model) == own else None,
    )
    application = web.Application()
    application.add_routes(files.routes())
    return application


async def serve(settings: ExportSettings) -> None:
    """Until it is cancelled. Raises OSError."""
    async with listening(build(settings), settings.export_host, settings.export_port):
        await asyncio.Event().wait()


def main() -> None:
    end_at_sigterm()
    asyncio.run(serve(ExportSettings()))


if __name__ == "__main__":
    main()
