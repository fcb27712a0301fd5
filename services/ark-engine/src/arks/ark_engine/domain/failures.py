"""Why a call fails, in terms of the protocol: the name of a gRPC status, and what the client reads."""

from typing import Any


class Failed(Exception):
    def __init__(self, status: str, message: str, *, code: str = "", param: str = "") -> None:
        """`status`: name of the gRPC status; `code`, `param`: of ErrorDetail."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param


def stopping() -> Failed:
    return Failed("UNAVAILABLE", "the engine is stopping")


def unknown_model(model: str) -> Failed:
    return Failed("NOT_FOUND", f"The model `{model}` does not exist", code="model_not_found", param="model")


def full(waiting: int) -> Failed:
    return Failed("RESOURCE_EXHAUSTED", f"{waiting} generations wait for a slot; retry later", code="engine_overloaded")


def from_llama(status: int, body: Any) -> Failed:
    """An error of llama.cpp's API. Its 4xx name what is wrong with the request; the rest is the engine's fault."""
    error = body.get("error") if isinstance(body, dict) else None
    message = str(error.get("message", "")) if isinstance(error, dict) else ""
    if isinstance(error, dict) and error.get("type") == "exceed_context_size_error":
        text = f"the prompt has {error.get('n_prompt_tokens')} tokens, the context {error.get('n_ctx')}"
        return Failed("OUT_OF_RANGE", text, code="context_length_exceeded", param="messages")
    if status == 503:
        return Failed("UNAVAILABLE", message or "llama.cpp is loading the model")
    if 400 <= status < 500:
        return Failed("INVALID_ARGUMENT", message or f"llama.cpp answered {status}")
    return Failed("INTERNAL", message or f"llama.cpp answered {status}")
