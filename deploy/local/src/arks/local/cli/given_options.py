"""The commands that messages name, with the options that the user gave: copied, they reach the same Arks."""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from arks.local.cli.catalog import ON_ONE_MACHINE

_OF_ROOT = ("--home", "--context", "--arks-namespace")
_NAMESPACE = ("--namespace", "-n")
_NAMESPACED = frozenset(
    {"apply", "delete", "describe", "diff", "edit", "events", "explain", "get", "logs", "model", "quota", "record"}
    | {"requests", "restart", "rollout", "scale", "token", "top", "usage", "wait"}
)
"""Commands with the option --namespace; a test compares them."""
_COMMAND = re.compile(
    r"(?P<quoted>(?<=`)arks [a-z][^`\n]*)|(?P<open>(?:(?<=\()|(?<=^  )|(?<=, )|(?<=& ))arks [a-z]+)", re.MULTILINE
)


def copyable(text: str) -> str:
    """Text in whose commands are the options of the command that runs."""
    return with_given_options(text, sys.argv[1:])


def with_copyable_steps(data: Mapping[str, Any], items: str) -> dict[str, Any]:
    """The data of `-o json`, with copyable commands in `nextStep` of these items. That text is for people, as messages
    are; what comes from resources or answers stays as it is.
    """
    return {**data, items: [item | {"nextStep": copyable(item["nextStep"])} for item in data[items]]}


def with_given_options(text: str, arguments: Sequence[str]) -> str:
    """Text in whose commands are the options for where Arks is, as `arguments` have them, and in those in backquotes
    the namespace too, unless they name one.
    """
    given = {name: _value(arguments, (name,)) for name in _OF_ROOT}
    root = "".join(f" {name} {shlex.quote(value)}" for name, value in given.items() if value is not None)
    namespace = _value(arguments, _NAMESPACE)
    if not root and namespace is None:
        return text

    def completed(found: re.Match[str]) -> str:
        _, command, *rest = words = found[0].split(" ")
        if "--help" in rest or (given["--context"] is not None and command in ON_ONE_MACHINE):
            return found[0]
        takes = found["quoted"] and command in _NAMESPACED and not {"-n", "--namespace", "-A"} & set(rest)
        where = f" -n {shlex.quote(namespace)}" if namespace is not None and takes else ""
        return f"arks{root} {' '.join(words[1:])}{where}"

    return _COMMAND.sub(completed, text)


def _value(arguments: Sequence[str], names: Sequence[str]) -> str | None:
    """The last value of an option with one of these names; None if it was not given."""
    value = None
    for argument, following in zip(arguments, [*arguments, None][1:], strict=True):
        if argument == "--":
            break
        name, equals, attached = argument.partition("=")
        if name in names:
            value = attached if equals else following
    return value
