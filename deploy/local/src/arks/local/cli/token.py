"""`arks token create`: a key for somebody."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arks.local.cli.common import (
    NO_HOME,
    Exit,
    HomeOption,
    NamespaceOption,
    connected,
    fail,
    paths_of,
    run,
    running_state,
    say,
)

if TYPE_CHECKING:
    from arks.kit.reconcile import Key

app = typer.Typer(name="token", help="Keys for people and programs.", no_args_is_help=True)

_RULES = ("rpm", "rpd", "tpm", "tpd")


@app.callback()
def group() -> None:
    """Keys for people and programs."""


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the ArksToken: the user.")],
    endpoints: Annotated[list[str], typer.Option("--endpoint", "-e", help="A model it may use; repeat for more.")],
    limits: Annotated[
        list[str] | None, typer.Option("--limit", help="As rpm=60, rpd=…, tpm=…, tpd=…; repeat for more.")
    ] = None,
    quota: Annotated[str | None, typer.Option("--quota", help="ArksQuota that is charged.")] = None,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="Write the key there (mode 0600) instead of printing it.")
    ] = None,
    namespace: NamespaceOption = "default",
    home: HomeOption = NO_HOME,
) -> None:
    """Make a random key. It is shown once: Arks keeps only its hash.

    \b
    arks token create ada --endpoint smollm2
    arks token create ci -e smollm2 --limit rpm=60 --limit tpm=20000 --key-file ci.key
    """
    from arks.kit.reconcile import Key
    from arks.local.files.credentials import new_key

    running_state(paths_of(home))
    key = new_key()
    spec = {"qos": [_qos(endpoint, limits or [], quota) for endpoint in endpoints]}
    run(_create(home, Key(namespace, name), key, spec, key_file))
    if key_file is None:
        say(key)
        typer.echo("This is the only time that the key is shown.", err=True)


def _qos(endpoint: str, limits: list[str], quota: str | None) -> dict[str, Any]:
    rules = [{"type": kind, "value": int(value)} for kind, value in map(_limit, limits)]
    extra = {"quota": {"name": quota}} if quota else {}
    return {"arksEndpoint": {"name": endpoint}, "rateLimits": rules, **extra}


def _limit(text: str) -> tuple[str, str]:
    kind, _, value = text.partition("=")
    if kind not in _RULES or not value.isdigit():
        fail(f"{text!r} is not a limit", f"write one of {', '.join(f'{rule}=NUMBER' for rule in _RULES)}", Exit.USAGE)
    return kind, value


async def _create(home: Path, name: "Key", secret: str, spec: dict[str, Any], key_file: Path | None) -> None:
    from pydantic import ValidationError

    from arks.contracts.resources import ArksToken, hash_key

    token_hash = hash_key(paths_of(home).pepper.read_bytes().strip(), secret)
    metadata = {"name": name.name, "namespace": name.namespace}
    data = {"apiVersion": "arks.ai/v1", "kind": "ArksToken", "metadata": metadata}
    try:
        token = ArksToken.from_dict(data | {"spec": spec | {"tokenHash": token_hash}})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        fail(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}", code=Exit.USAGE)
    async with connected(home) as store:
        if await store.read(ArksToken, name) is not None:
            fail(f"there is an ArksToken {name} already", f"`arks delete token/{name.name} -n {name.namespace}` first")
        if key_file is not None:
            _write_key(key_file, secret)
        await store.apply(token)
    typer.echo(f"arkstoken/{name.name} created", err=True)


def _write_key(file: Path, key: str) -> None:
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(key)
    except FileExistsError:
        fail(f"{file} exists already and is left as it is", "name another file with --key-file", Exit.USAGE)
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror or error}", code=Exit.USAGE)
