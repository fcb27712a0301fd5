"""OpenAI's description of its API, as far as Arks serves it, from the types of OpenAI's own Python package.

OpenAI generates those types from the description that it publishes, and no package of a registry that we use ships the
description itself; nothing that was fetched is committed. What the types do not have is lost: bounds of numbers, and
which members of an answer may be null but not absent.

usage: python -m e2e.support.openai_description > description.json
"""

import json
from typing import Any

from openai.types import Completion, CreateEmbeddingResponse, EmbeddingCreateParams
from openai.types.chat import ChatCompletion
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as ChatParams
from openai.types.completion_create_params import CompletionCreateParamsNonStreaming as CompletionParams
from openai.types.shared import ErrorObject
from pydantic import TypeAdapter

MODEL, EMBEDDER = "smollm2", "embedder"
"""Of the suite: the demo's, and the one that makes embeddings."""
OPERATIONS: dict[str, tuple[Any, Any]] = {
    "/chat/completions": (ChatParams, ChatCompletion),
    "/completions": (CompletionParams, Completion),
    "/embeddings": (EmbeddingCreateParams, CreateEmbeddingResponse),
}
"""Path -> the types of its requests and answers."""
_STREAM: dict[str, Any] = {"text/event-stream": {}}
"""stream_events.py has the types of events, for which the description has no words."""


def description() -> dict[str, Any]:
    """Return an OpenAPI document."""
    schemas: dict[str, Any] = {}
    paths = {}
    for path, (request, answer) in OPERATIONS.items():
        paths[path] = {
            "post": {
                "requestBody": {"required": True, "content": _json(_schema(request, "validation", schemas))},
                "responses": {
                    "200": {
                        "description": "an answer",
                        "content": _json(_schema(answer, "serialization", schemas)) | _STREAM,
                    },
                    "4XX": {"description": "a refusal", "content": _json(_error(schemas))},
                },
            }
        }
    info = {"title": "OpenAI's API", "version": "of the package"}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _schema(type_: Any, mode: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a type; put what it refers to into `schemas`, under names of its mode."""
    prefix = f"{type_.__module__}.{type_.__name__}".replace(".", "_")
    template = f"#/components/schemas/{prefix}_{{model}}"
    built = TypeAdapter(type_).json_schema(mode=mode, ref_template=template)
    for name, found in built.pop("$defs", {}).items():
        schemas[f"{prefix}_{name}"] = found
    return built


def _error(schemas: dict[str, Any]) -> dict[str, Any]:
    error = _schema(ErrorObject, "serialization", schemas)
    # The types allow what is null to be absent; clients of other languages do not.
    error["required"] = ["message", "type", "param", "code"]
    return {"type": "object", "properties": {"error": error}, "required": ["error"]}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


if __name__ == "__main__":
    print(json.dumps(description()))
