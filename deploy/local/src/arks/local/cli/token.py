"""`arks token create`: create an API key."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arks.local.cli.connection import connected, running_state
from arks.local.cli.failure import Exit, fail
from arks.local.cli.options import NO_HOME, HomeOption, NamespaceOption
from arks.local.cli.output import print_text
from arks.local.files.paths import Paths

if TYPE_CHECKING:
    from arks.kit.key import Key

app = typer.Typer(name="token", help="Manage API keys.", no_args_is_help=True)

_RULES = ("rpm", "rpd", "tpm", "tpd")
_ENDPOINT_HELP = "An endpoint that the key may use; repeat for more."
_LIMIT_HELP = "As rpm=60, rpd=…, tpm=…, tpd=…; repeat for more."
_KEY_FILE_HELP = "Write the key to this file (mode 0600) instead of printing it."


@app.callback()
def group() -> None:
    """Manage API keys."""


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the token, usually the user.")],
    endpoints: Annotated[list[str], typer.Option("--endpoint", "-e", help=_ENDPOINT_HELP)],
    limits: Annotated[list[str] | None, typer.Option("--limit", help=_LIMIT_HELP)] = None,
    quota: Annotated[str | None, typer.Option("--quota", help="ArksQuota to charge.")] = None,
    key_file: Annotated[Path | None, typer.Option("--key-file", help=_KEY_FILE_HELP)] = None,
    namespace: NamespaceOption = "default",
    home: HomeOption = NO_HOME,
) -> None:
    """Create a random API key. It is shown once: Arks stores only its hash.

    \b
    arks token create ada --endpoint smollm2
    arks token create ci -e smollm2 --limit rpm=60 --limit tpm=20000 --key-file ci.key
    """
    from arks.kit.key import Key
    from arks.local.files.credentials import new_key

    paths = Paths.of(home)
    running_state(paths)
    key = new_key()
    spec = {"qos": [_qos(endpoint, limits or [], quota) for endpoint in endpoints]}
    asyncio.run(_create(paths, Key(namespace, name), key, spec, key_file))
    if key_file is None:
        print_text(key)
        typer.echo("Store this key now: it will not be shown again.", err=True)


def _qos(endpoint: str, limits: list[str], quota: str | None) -> dict[str, Any]:
    rules = [{"type": kind, "value": int(value)} for kind, value in map(_limit, limits)]
    extra = {"quota": {"name": quota}} if quota else {}
    return {"arksEndpoint": {"name": endpoint}, "rateLimits": rules, **extra}


def _limit(text: str) -> tuple[str, str]:
    kind, _, value = text.partition("=")
    if kind not in _RULES or not value.isdigit():
        fail(f"{text!r} is not a limit", f"write one of {', '.join(f'{rule}=NUMBER' for rule in _RULES)}", Exit.USAGE)
    return kind, value


async def _create(paths: Paths, name: "Key", secret: str, spec: dict[str, Any], key_file: Path | None) -> None:
    from pydantic import ValidationError

    from arks.contracts.api_key import hash_key
    from arks.contracts.resources import ArksToken

    token_hash = hash_key(paths.pepper.read_bytes().strip(), secret)
    metadata = {"name": name.name, "namespace": name.namespace}
    data = {"apiVersion": "arks.ai/v1", "kind": "ArksToken", "metadata": metadata}
    try:
        token = ArksToken.from_dict(data | {"spec": spec | {"tokenHash": token_hash}})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        fail(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}", code=Exit.USAGE)
    async with connected(paths.home) as store:
        if await store.read(ArksToken, name) is not None:
            fail(
                f"ArksToken {name} exists already",
                f"to replace it: `arks delete token/{name.name} -n {name.namespace}`",
            )
        if key_file is not None:
            _write_key(key_file, secret)
        await store.apply(token)
    typer.echo(f"arkstoken/{name.name} created", err=True)


def _write_key(file: Path, key: str) -> None:
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(key)
    except FileExistsError:
        fail(f"{file} exists already and was not changed", "name another file with --key-file", Exit.USAGE)
    except OSError as error:
        fail(f"cannot write {file}: {error.strerror or error}", code=Exit.USAGE)
