"""Messages of the argument parser in the form of all others: what is wrong, then the next step."""

import re
from collections.abc import Sequence

from arks.local.cli.catalog import COMMANDS
from arks.local.cli.failure import Exit, Failure
from arks.local.render.spelling import closest

_MEANT = {
    "start": "up",
    "serve": "run",
    "pull": "run",
    "install": "up",
    "stop": "down",
    "kill": "down",
    "ls": "get all",
    "list": "get all",
    "ps": "get all",
    "show": "describe",
    "rm": "delete",
    "remove": "delete",
    "create": "apply -f FILE",
    "log": "logs",
    "health": "status",
    "info": "status",
    "models": "get models",
    "tokens": "token list",
    "key": "token",
    "keys": "token list",
    "config": "env",
}
"""What users of other tools type, and the command here."""
_OF_ROLLOUT = {
    "restart": "`arks restart app NAME` replaces the engines of an application",
    "history": "`arks events --for app/NAME` lists what has changed",
    "undo": "`arks apply -f FILE` with the manifest before; `arks rollout abort ENDPOINT` takes a canary back",
}
"""What users of kubectl type after `rollout`, and the next step here."""
_LIMIT = re.compile(r"no such option: --(rpm|rpd|tpm|tpd)\b")
_OF_FILES = ("apply", "delete", "diff")
_SIMILAR = re.compile(r" \(possible options: (.+)\)$", re.IGNORECASE)
"""What the parser adds to an unknown option, however little it resembles it."""


def failure_of(message: str, command_path: str, arguments: Sequence[str]) -> Failure:
    """A parser's message as a Failure. `command_path`: as in `arks token create`."""
    text = _plain(message)
    return Failure(text, _next_step(text, message, command_path, arguments), Exit.USAGE)


def _plain(message: str) -> str:
    """Without the words of the validation library."""
    text = message.replace("Value error, ", "").replace("Input should be", "must be").rstrip(".")
    text = _SIMILAR.sub("", re.sub(r"\. Did you mean .*$", "", text))
    return text[:1].lower() + text[1:]


def _next_step(text: str, message: str, command_path: str, arguments: Sequence[str]) -> str:
    if unknown := re.match(r"no such command '(.+?)'", text):
        if command_path == "arks":
            return f"did you mean `arks {meant}`?" if (meant := _meant(unknown[1])) else "see `arks --help`"
        if command_path == "arks rollout" and unknown[1] in _OF_ROLLOUT:
            return _OF_ROLLOUT[unknown[1]]
    if step := _of_arguments(text, command_path.rpartition(" ")[2], arguments):
        return step
    if guess := _guess(text, message):
        return f"did you mean `{command_path} {guess}`?"
    return f"see `{command_path} --help`"


def _of_arguments(text: str, command: str, arguments: Sequence[str]) -> str | None:
    """The next step after options and arguments that other tools take."""
    if limit := _LIMIT.match(text):
        return f"limits are written as `--limit {limit[1]}=NUMBER`"
    if command == "scale" and re.match(r"no such option: -\d", text):
        return "a number of replicas is 0 or more, as in `arks scale app smollm2 2`"
    if "extra argument" in text and command in _OF_FILES and any(_is_file(argument) for argument in arguments):
        file = next(argument for argument in arguments if _is_file(argument))
        return f"files are named with -f: `arks {command} -f {file}`"
    return None


def _guess(text: str, message: str) -> str | None:
    """The command or option that was meant, if it resembles what was typed."""
    if named := re.search(r"did you mean '(.+?)'", message, re.IGNORECASE):
        return named[1]
    option, options = re.match(r"no such option: (\S+)", text), _SIMILAR.search(message)
    return closest(option[1], options[1].split(", ")) if option and options else None


def _is_file(argument: str) -> bool:
    return argument.endswith((".yaml", ".yml", ".json"))


def _meant(word: str) -> str | None:
    return _MEANT.get(word) or closest(word, COMMANDS)
