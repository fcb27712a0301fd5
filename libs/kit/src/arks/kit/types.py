"""Type aliases that all parts of Arks share."""

from collections.abc import Awaitable, Callable
from typing import Any

Json = dict[str, Any]
"""A JSON object."""
AsyncCallable = Callable[[], Awaitable[None]]
"""Work without arguments and result: a background task, a step of a start or of a stop."""
