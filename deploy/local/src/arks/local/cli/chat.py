"""`arks chat`: send prompts to a model through the gateway, like any client."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arks.local.cli.failure import Exit, Failure, fail
from arks.local.cli.gateway import gateway_of
from arks.local.cli.key_file import read_key
from arks.local.cli.names import complete_endpoints
from arks.local.cli.options import NO_HOME, HomeOption

if TYPE_CHECKING:
    from arks.local.client.chat_stream import Answer, Messages

_KEY_FILE_HELP = "File with the API key; default: the demo's."


def chat(
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="[PROMPT]", help="Send once and exit; without it, start an interactive chat."),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Name of an endpoint or its model.", autocompletion=complete_endpoints)
    ] = "smollm2",
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
        sender = _Sender(url, read_key(file), max_tokens)
        _chat(sender, model, system, prompt)


def _chat(sender: "_Sender", model: str, system: str | None, prompt: str | None) -> None:
    from arks.local.client.chat_stream import Answer

    if prompt is None and not sys.stdin.isatty():
        prompt = sys.stdin.read().strip()
    if prompt is None:
        _converse(sender, model, system)
        return
    if not prompt.strip():
        fail("the prompt is empty", 'as in `arks chat "Hello"`', Exit.USAGE)
    messages = [{"role": "system", "content": system}] if system else []
    answer = Answer()
    try:
        for piece in sender.send(model, [*messages, {"role": "user", "content": prompt}], answer):
            _write(piece)
    finally:
        if answer.text:
            _write("\n")


def _converse(sender: "_Sender", model: str, system: str | None) -> None:
    import readline  # noqa: F401  # lets `input` edit lines and recall earlier prompts

    from arks.local.cli.chat_session import ChatSession

    def note(text: str) -> None:
        typer.echo(text, nl=False, err=True)

    ChatSession(model, system, send=sender.send, models=sender.models, read_line=input, write=_write, note=note).run()


def _write(text: str) -> None:
    typer.echo(text, nl=False)


class _Sender:
    """Streams answers; its errors are messages with the next step."""

    def __init__(self, url: str, key: str, max_tokens: int | None) -> None:
        self._url = url
        self._key = key
        self._max_tokens = max_tokens

    def models(self) -> list[str]:
        """Those that the key may use. Raises Failure."""
        from arks.local.client.chat_stream import ChatRejected, GatewayLost, models_of

        try:
            return models_of(self._url, self._key)
        except ChatRejected as error:
            raise Failure(*explain_error(error.status, error.body, "")) from error
        except GatewayLost as error:
            raise Failure(f"lost the connection to the gateway: {error}", "see `arks status`") from error

    def send(self, model: str, messages: "Messages", answer: "Answer") -> Iterator[str]:
        """Raises Failure."""
        from arks.local.client.chat_stream import AnswerCutOff, ChatClient, ChatRejected, GatewayLost

        try:
            yield from ChatClient(self._url, self._key, model, self._max_tokens).stream(messages, answer)
        except ChatRejected as error:
            raise Failure(*explain_error(error.status, error.body, model)) from error
        except AnswerCutOff as error:
            raise Failure(f"the answer was cut off: {error}", "see `arks events`") from error
        except GatewayLost as error:
            raise Failure(f"lost the connection to the gateway: {error}", "see `arks status`") from error


_NEXT_STEPS_OF_CODES = {
    "api_key_disabled": "`arks token list` shows the keys; `arks token rotate NAME` makes a new one",
    "api_key_expired": "`arks token list` shows the keys; `arks token rotate NAME` makes a new one",
    "insufficient_quota": "`arks quota` shows used and limit; `arks edit quota NAME` changes the limit",
    "rate_limit_exceeded": "wait, or change it: `arks token list` shows limits, `arks edit token NAME` changes them",
    "quota_not_found": "create the ArksQuota, or name another one: `arks edit token NAME`",
}
_NEXT_STEPS = {
    401: "this API key is not valid; name another with --key-file FILE",
    403: "`arks token list` shows what each key may use; `arks token create NAME -e {model}` creates one",
    404: "`arks get endpoints -A` lists the models; choose with --model NAME, or serve it with `arks run`",
    429: "the message names the limit; `arks token list` and `arks quota` show all limits",
    503: "`arks status` shows what is wrong; `arks explain {model}` shows its replicas",
}


def explain_error(status: int, body: str, model: str) -> tuple[str, str]:
    """The message of an error response, and the next step."""
    try:
        error = json.loads(body)["error"]
        message, code = str(error["message"]), str(error.get("code"))
    except (ValueError, KeyError, TypeError, AttributeError):
        message, code = body.strip()[:200] or "no reason given", ""
    next_step = _NEXT_STEPS_OF_CODES.get(code) or _NEXT_STEPS.get(status, "see `arks status`")
    return f"{model} did not answer ({status}): {message}", next_step.format(model=model)
