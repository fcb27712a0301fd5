"""What a word was most likely meant to be. Pure."""

from collections.abc import Iterable


def closest(word: str, known: Iterable[str]) -> str | None:
    """The most similar of the known words; None if none is similar."""
    import difflib  # noqa: PLC0415  # only mistakes need it

    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)), None)
