"""Completion of names on the command line, as the shell queries it. Nothing if Arks does not run, or on a cluster."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from arks.local.files.paths import DEFAULT_HOME

if TYPE_CHECKING:
    from arks.local.render.kinds import Kind


def complete_targets(context: typer.Context, incomplete: str) -> list[str]:
    """Kinds, then names of the kind that was written."""
    from arks.local.render.kinds import find_kind, words

    written = context.params.get("resources") or []
    kind_text, slash, _ = incomplete.partition("/") if "/" in incomplete else (written[0] if written else "", "", "")
    kind = find_kind(kind_text) if kind_text else None
    if kind is None:
        return _matching(words(), incomplete)
    prefix = f"{kind_text}/" if slash else ""
    return _matching([f"{prefix}{name}" for name in _names(context, [kind])], incomplete)


def complete_endpoints(context: typer.Context, incomplete: str) -> list[str]:
    from arks.local.render.kinds import ENDPOINT

    return _matching(_names(context, [ENDPOINT]), incomplete)


def complete_tokens(context: typer.Context, incomplete: str) -> list[str]:
    from arks.local.render.kinds import TOKEN

    return _matching(_names(context, [TOKEN]), incomplete)


def complete_logs(context: typer.Context, incomplete: str) -> list[str]:
    """Applications and services."""
    from arks.local.files.paths import Paths
    from arks.local.render.kinds import APPLICATION, DISAGGREGATED

    services = [file.stem for file in Paths.of(_home(context)).logs.glob("*.log")]
    return _matching([*_names(context, [APPLICATION, DISAGGREGATED]), "gateway", *sorted(services)], incomplete)


def _home(context: typer.Context) -> Path:
    return Path(context.find_root().params.get("home") or DEFAULT_HOME)


def _names(context: typer.Context, kinds: "list[Kind]") -> list[str]:
    from arks.local.cli.failure import Failure
    from arks.local.cli.reading import read

    if context.find_root().params.get("context"):
        return []
    try:
        found = read(_home(context), kinds)
    except Failure:
        return []
    return list(dict.fromkeys(item["metadata"]["name"] for kind in kinds for item in found[kind]))


def _matching(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
