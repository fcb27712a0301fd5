"""`arks chat`: send prompts to a model through the gateway, like any client."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from arks.local.cli.failure import Exit, fail
from arks.local.cli.gateway import gateway_of
from arks.local.cli.key_file import read_key
from arks.local.cli.options import NO_HOME, HomeOption

_READ_TIMEOUT_SECONDS = 120.0
_CONNECT_TIMEOUT_SECONDS = 5.0
_KEY_FILE_HELP = "File with the API key; default: the demo's."

Messages = list[dict[str, str]]


def chat(
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="[PROMPT]", help="Send once and exit; without it, start an interactive chat."),
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Name of an endpoint or its model.")] = "smollm2",
    key_file: Annotated[Path | None, typer.Option("--key-file", help=_KEY_FILE_HELP, dir_okay=False)] = None,
    system: Annotated[str | None, typer.Option("--system", help="System prompt.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="Maximum length of an answer in tokens.")
    ] = None,
    home: HomeOption = NO_HOME,
) -> None:
    """Chat with a model. The API key is read from a file, so that it does not show up in `ps`.

    \b
    arks chat "Hello, who are you?"
    arks chat -m qwen-7b --key-file team.key
    echo "Translate to French: good morning" | arks chat
    """
    with gateway_of(home) as (url, demo_key):
        file = key_file or demo_key
        if file is None:
            fail("no API key", "name a file with one: --key-file FILE; `arks token create` writes one", Exit.USAGE)
        client = _ChatClient(url, read_key(file), model, max_tokens)
        _chat(client, system, prompt)


def _chat(client: "_ChatClient", system: str | None, prompt: str | None) -> None:
    messages: Messages = [{"role": "system", "content": system}] if system else []
    if prompt is None and not sys.stdin.isatty():
        prompt = sys.stdin.read().strip()
    if prompt is not None:
        client.send([*messages, {"role": "user", "content": prompt}])
        return
    _converse(client, messages)


def _converse(client: "_ChatClient", messages: Messages) -> None:
    typer.echo(f"Chatting with {client.model}. Press Ctrl-D to exit.", err=True)
    while True:
        try:
            prompt = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            typer.echo("")
            return
        if prompt:
            messages.append({"role": "user", "content": prompt})
            messages.append({"role": "assistant", "content": client.send(messages)})


class _ChatClient:
    def __init__(self, url: str, key: str, model: str, max_tokens: int | None) -> None:
        self.model = model
        self._url = url
        self._key = key
        self._max_tokens = max_tokens

    def send(self, messages: Messages) -> str:
        """Print the answer as it arrives, and return it. Raises Failure."""
        import httpx

        body: dict[str, Any] = {"model": self.model, "messages": messages, "stream": True}
        if self._max_tokens is not None:
            body["max_tokens"] = self._max_tokens
        answer = ""
        timeout = httpx.Timeout(_READ_TIMEOUT_SECONDS, connect=_CONNECT_TIMEOUT_SECONDS)
        try:
            with (
                httpx.Client(timeout=timeout, trust_env=False) as client,
                client.stream(
                    "POST", f"{self._url}/chat/completions", json=body, headers={"Authorization": f"Bearer {self._key}"}
                ) as response,
            ):
                if response.status_code != 200:
                    response.read()
                    fail(*explain_error(response.status_code, response.text, self.model))
                for text in pieces(response.iter_lines()):
                    answer += text
                    typer.echo(text, nl=False)
        except httpx.HTTPError as error:
            typer.echo("")
            fail(f"lost the connection to the gateway: {str(error) or type(error).__name__}", "see `arks status`")
        typer.echo("")
        return answer


def pieces(lines: Iterator[str]) -> Iterator[str]:
    """The text in the events of a streamed answer. Raises Failure if the engine reports an error in it."""
    for line in lines:
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        event = json.loads(data)
        if "error" in event:
            fail(f"the answer was cut off: {event['error'].get('message', event['error'])}", "see `arks events`")
        for choice in event.get("choices", []):
            if text := (choice.get("delta") or {}).get("content"):
                yield text


_NEXT_STEPS = {
    401: "this API key is not valid; name another with --key-file FILE",
    403: "`arks token list` shows what each key may use; `arks token create NAME -e MODEL` creates one",
    404: "`arks get endpoints -A` lists the models; choose with --model NAME, or serve it with `arks run`",
    429: "the message names the limit; `arks token list` and `arks quota` show all limits",
    503: "`arks status` shows what is wrong; `arks explain MODEL` shows its replicas",
}


def explain_error(status: int, body: str, model: str) -> tuple[str, str]:
    """The message of an error response, and the next step."""
    try:
        message = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = body.strip()[:200] or "no reason given"
    return f"{model} did not answer ({status}): {message}", _NEXT_STEPS.get(status, "see `arks status`")
