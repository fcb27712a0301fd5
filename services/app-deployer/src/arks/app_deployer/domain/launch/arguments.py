"""From what people write in `runtimeCommonArgs` to words of a command line, with nothing for a shell to interpret."""

import json
import re
import shlex
from collections.abc import Iterable

_OPTION = re.compile(r"(?P<option>--?[\w.-]+)(?P<separator>=|\s+)(?P<value>[{\[].*[}\]])\s*", re.DOTALL)


def as_arguments(arguments: Iterable[str]) -> list[str]:
    """Each element is one word, exactly as it is, with two exceptions for manifests of the older implementation.

    That one joined all elements with blanks and gave them to a shell. So `--option value` in one element is two words,
    and an element wrapped in quotes loses them. JSON in a value stays whole: `--option={"a": 1}`, `--option {"a": 1}`.
    """
    return [word for argument in arguments for word in _split(argument)]


def _split(argument: str) -> list[str]:
    joined = argument.startswith("-") and any(blank in argument for blank in " \t\n")
    wrapped = len(argument) > 1 and argument[0] in "'\"" and argument[0] == argument[-1]
    if not joined and not wrapped:
        return [argument]
    found = _OPTION.fullmatch(argument)
    if found is not None and _is_json(found["value"]):
        return [argument] if found["separator"] == "=" else [found["option"], found["value"]]
    try:
        return shlex.split(argument)
    except ValueError:  # an apostrophe, not a quote
        return [argument]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def quoted(words: Iterable[str]) -> str:
    """The words as text for a shell. `$(NAME)` of Kubernetes inside them is still replaced, before the shell runs."""
    return shlex.join(words)
