"""A first request to a model, through the gateway."""

import http.client
import json
import time

from arks.local.plan.addresses import HOST

_TIMEOUT_SECONDS = 60.0
_RETRY_SECONDS = 0.2


def request_answer(port: int, key: str, model: str) -> str | None:
    """Send one request; None if the model has answered, else the problem."""
    body = json.dumps({"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]})
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(HOST, port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("POST", "/v1/chat/completions", body, headers)
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    if answer.status == 200:
        return None
    try:
        return f"{answer.status}: {json.loads(text)['error']['message']}"
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status}"


def wait_for_answer(port: int, key: str, model: str, seconds: float) -> str | None:
    """Repeat the request until the model answers; the last problem if it does not in time."""
    end = time.monotonic() + seconds
    while (problem := request_answer(port, key, model)) is not None and time.monotonic() < end:
        time.sleep(_RETRY_SECONDS)
    return problem
