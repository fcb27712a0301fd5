"""A first request to the demo's model, through the gateway."""

import http.client
import json

from arks.local.plan import demo
from arks.local.plan.addresses import HOST

_TIMEOUT_SECONDS = 60.0


def request_answer(port: int, key: str) -> str | None:
    """Send one request; None if the model has answered, else the problem."""
    body = json.dumps({"model": demo.MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]})
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
