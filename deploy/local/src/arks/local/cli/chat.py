"""`arks chat`: talk to a model through the gateway, as any client would."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from arks.local.cli.common import NO_HOME, Exit, HomeOption, fail, paths_of, running_state

_FIRST_BYTE_SECONDS = 120.0
_CONNECT_SECONDS = 5.0

Messages = list[dict[str, str]]


def chat(
    prompt: Annotated[
        str | None, typer.Argument(metavar="[PROMPT]", help="Ask this and end; without it: a talk.")
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="An endpoint's name.")] = "smollm2",
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="File with the API key; default is the demo's.", dir_okay=False)
    ] = None,
    system: Annotated[str | None, typer.Option("--system", help="What the model is told first.")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", min=1, help="Longest answer.")] = None,
    home: HomeOption = NO_HOME,
) -> None:
    """Talk to a model; the answer is printed as it is made. Keys come from files: a command line can be seen by others.

    \b
    arks chat "Hello, who are you?"
    arks chat -m qwen-7b --key-file team.key
    echo "Translate to French: good morning" | arks chat
    """
    paths = paths_of(home)
    state = running_state(paths)
    from arks.local.plan.ports import GATEWAY
    from arks.local.plan.programs import gateway_url

    key = read_key(key_file or paths.demo_key)
    talk = _Talk(gateway_url(state.ports[GATEWAY]), key, model, max_tokens)
    start: Messages = [{"role": "system", "content": system}] if system else []
    if prompt is None and not sys.stdin.isatty():
        prompt = sys.stdin.read().strip()
    if prompt is not None:
        talk.ask([*start, {"role": "user", "content": prompt}])
        return
    _converse(talk, start)


def read_key(file: Path) -> str:
    try:
        key = file.expanduser().read_text().strip()
    except OSError as error:
        fail(
            f"no key: {file}: {error.strerror or error}", "name a file that holds one with --key-file FILE", Exit.USAGE
        )
    if not key or not all("!" <= character <= "~" for character in key):
        fail(f"{file} does not hold a key", "it must hold the key and nothing else", Exit.USAGE)
    return key


def _converse(talk: "_Talk", messages: Messages) -> None:
    typer.echo(f"Talking to {talk.model}. Ctrl-D ends this.", err=True)
    while True:
        try:
            said = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            typer.echo("")
            return
        if said:
            messages.append({"role": "user", "content": said})
            messages.append({"role": "assistant", "content": talk.ask(messages)})


class _Talk:
    def __init__(self, url: str, key: str, model: str, max_tokens: int | None) -> None:
        self.model = model
        self._url = url
        self._key = key
        self._max_tokens = max_tokens

    def ask(self, messages: Messages) -> str:
        """Print the answer as it comes, and return it. Raises Failure."""
        import httpx

        body: dict[str, Any] = {"model": self.model, "messages": messages, "stream": True}
        if self._max_tokens is not None:
            body["max_tokens"] = self._max_tokens
        answer = ""
        timeout = httpx.Timeout(_FIRST_BYTE_SECONDS, connect=_CONNECT_SECONDS)
        try:
            with (
                httpx.Client(timeout=timeout, trust_env=False) as client,
                client.stream(
                    "POST", f"{self._url}/chat/completions", json=body, headers={"Authorization": f"Bearer {self._key}"}
                ) as response,
            ):
                if response.status_code != 200:
                    response.read()
                    fail(*problem(response.status_code, response.text, self.model))
                for text in pieces(response.iter_lines()):
                    answer += text
                    typer.echo(text, nl=False)
        except httpx.HTTPError as error:
            typer.echo("")
            fail(f"the gateway broke off: {str(error) or type(error).__name__}", "see `arks status`")
        typer.echo("")
        return answer


def pieces(lines: Iterator[str]) -> Iterator[str]:
    """The text in the events of a streamed answer. Raises Failure when the engine reports an error in it."""
    for line in lines:
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        event = json.loads(data)
        if "error" in event:
            fail(f"the answer broke off: {event['error'].get('message', event['error'])}", "see `arks events`")
        for choice in event.get("choices", []):
            if text := (choice.get("delta") or {}).get("content"):
                yield text


_NEXT_STEPS = {
    401: "the key is not known; name another with --key-file FILE",
    403: "the key may not use this model; `arks get tokens -o yaml` says what it may use",
    404: "`arks get endpoints -A` lists what there is; choose with --model NAME",
    429: "a limit is reached; `arks usage` and `arks describe token` say which",
    503: "see `arks get endpoints,applications -A`",
}


def problem(status: int, body: str, model: str) -> tuple[str, str]:
    """What the gateway's refusal says, and the next step."""
    try:
        message = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = body.strip()[:200] or "no reason given"
    return f"{model} did not answer ({status}): {message}", _NEXT_STEPS.get(status, "see `arks status`")


def add_to(app: typer.Typer) -> None:
    app.command()(chat)
