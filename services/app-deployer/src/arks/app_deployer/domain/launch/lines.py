"""Command lines from templates: fixed text with names in braces. Pure.

A name stands for one word, or, where it is a word of its own, for a list of words. In a line for a shell every value is
quoted, so nothing in it reaches the shell as anything but a word.
"""

import re
import shlex
from collections.abc import Mapping, Sequence

Values = Mapping[str, str | Sequence[str]]
_NAME = re.compile(r"\{([A-Za-z]+)\}")


def names(template: str) -> set[str]:
    """Names that the template needs values of."""
    return set(_NAME.findall(template))


def exec_words(template: str, values: Values) -> list[str]:
    """The words of a command that needs no shell."""
    return [word for token in template.split() for word in _expanded(token, values)]


def shell_line(template: str, values: Values) -> str:
    """A line for a shell; the template's own text is not quoted. Kubernetes replaces `$(NAME)` in it before."""
    quoted = {name: _quoted(value) for name, value in values.items()}
    return " ".join(word for token in template.split() for word in _expanded(token, quoted))


def _expanded(token: str, values: Values) -> list[str]:
    whole = _NAME.fullmatch(token)
    if whole is not None and not isinstance(value := values[whole[1]], str):
        return list(value)
    return [_NAME.sub(lambda match: _one_word(values[match[1]]), token)]


def _one_word(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else " ".join(value)


def _quoted(value: str | Sequence[str]) -> str | list[str]:
    return shlex.quote(value) if isinstance(value, str) else [shlex.quote(word) for word in value]
