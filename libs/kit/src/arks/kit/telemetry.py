"""Sets up logs: JSON lines with secrets masked."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET_NAMES = re.compile(r"(?i)(^|_)(authorization|password|secret|pepper|api_key|token|hf_token)$")
_SECRET_VALUES = re.compile(
    r"(?i)\b(bearer\s+)[^\s\"',}]+|\b(sk-|(?-i:hf_(?!token\b)))[A-Za-z0-9_-]{4,}|(://[^:/@\s]*:)[^@/\s]+@"
)
"""Not masked: HF_TOKEN and hf_token are names of secrets, and messages name the missing secret."""
REDACTED = "[redacted]"


def redact(text: str) -> str:
    """Mask keys, bearer tokens and passwords in addresses."""

    def mask(match: re.Match[str]) -> str:
        kept = match[1] or match[2] or match[3] or ""
        return f"{kept}{REDACTED}{'@' if match[3] else ''}"

    return _SECRET_VALUES.sub(mask, text)


def _redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = REDACTED if _SECRET_NAMES.search(name) else redact(value)
    return event


def configure_logging(service: str, level: str = "info") -> None:
    """Write logs, also those of libraries, as one JSON object a line to stderr."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _redact_event,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=service)
