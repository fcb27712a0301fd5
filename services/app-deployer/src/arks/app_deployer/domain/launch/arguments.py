"""From what people write in `runtimeCommonArgs` to words of a command line, with nothing for a shell to interpret."""

import shlex
from collections.abc import Iterable


def as_arguments(arguments: Iterable[str]) -> list[str]:
    """Each element is one word, exactly as it is, with two exceptions for manifests of the older implementation.

    That one joined all elements with blanks and gave them to a shell. So `--option value` in one element is two words,
    and an element wrapped in quotes loses them.
    """
    return [word for argument in arguments for word in _split(argument)]


def _split(argument: str) -> list[str]:
    joined = argument.startswith("-") and any(blank in argument for blank in " \t\n")
    wrapped = len(argument) > 1 and argument[0] in "'\"" and argument[0] == argument[-1]
    if not joined and not wrapped:
        return [argument]
    try:
        return shlex.split(argument)
    except ValueError:  # an apostrophe, not a quote
        return [argument]


def quoted(words: Iterable[str]) -> str:
    """The words as text for a shell. `$(NAME)` of Kubernetes inside them is still replaced, before the shell runs."""
    return shlex.join(words)
