"""`arks token`: the life of an API key."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arks.local.cli.changing import change_spec
from arks.local.cli.connection import cluster_of, connected, running_state
from arks.local.cli.failure import Exit, fail
from arks.local.cli.home import ClusterHome, Home
from arks.local.cli.invalid import fail_invalid
from arks.local.cli.names import complete_endpoints
from arks.local.cli.options import (
    NO_HOME,
    NO_NAMESPACE,
    AllNamespacesOption,
    HomeOption,
    NamespaceOption,
    OutputOption,
    TokenArgument,
)
from arks.local.cli.output import print_data, print_text
from arks.local.cli.reading import read
from arks.local.cli.targets import select
from arks.local.cli.times import parse_duration, parse_until
from arks.local.files.paths import Paths
from arks.local.render.kinds import ENDPOINT, QUOTA, TOKEN, Kind

if TYPE_CHECKING:
    from arks.kit.key import Key

app = typer.Typer(name="token", help="Manage API keys.", no_args_is_help=True)

_NAMED_BY_TOKENS = (TOKEN, ENDPOINT, QUOTA)
_RULES = ("rpm", "rpd", "tpm", "tpd")
_ENDPOINT_HELP = "An endpoint that the key may use; repeat for more."
_LIMIT_HELP = "As rpm=60, rpd=…, tpm=…, tpd=…; repeat for more."
_KEY_FILE_HELP = "Write the key to this file (mode 0600) instead of printing it."


@app.callback()
def group() -> None:
    """Manage API keys."""


@app.command("list")
def list_tokens(
    namespace: NamespaceOption = NO_NAMESPACE,
    all_namespaces: AllNamespacesOption = False,
    output: OutputOption = None,
    home: HomeOption = NO_HOME,
) -> None:
    """List API keys: what they may use, their limits, and when they expire. Arks stores no key, only hashes."""
    from arks.local.cli.get import GetOutput, get

    get(["tokens"], namespace, all_namespaces, output=GetOutput(output) if output else None, home=home)
    if output is None:
        _warn_of_missing(read(home, _NAMED_BY_TOKENS), None if all_namespaces else namespace)


@app.command()
def show(
    name: TokenArgument,
    namespace: NamespaceOption = NO_NAMESPACE,
    output: OutputOption = None,
    home: HomeOption = NO_HOME,
) -> None:
    """Show what a key may use, its limits, its quotas, and what it has used today.

    \b
    arks token show ada
    """
    from arks.local.cli.usage import query
    from arks.local.render.token import as_text

    found = read(home, _NAMED_BY_TOKENS)
    token = select(TOKEN, found[TOKEN], [name], namespace)[0]
    if output is not None:
        print_data(token, output)
        return
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    used = query(home, {"namespace": namespace, "token": name, "since": today, "group_by": "endpoint"})
    quotas = {item["metadata"]["name"]: item for item in found[QUOTA] if item["metadata"]["namespace"] == namespace}
    print_text(as_text(token, quotas, used["items"], datetime.now(UTC)))
    _warn_of_missing(found, namespace, name)


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the token, usually the user.")],
    endpoints: Annotated[
        list[str], typer.Option("--endpoint", "-e", help=_ENDPOINT_HELP, autocompletion=complete_endpoints)
    ],
    limits: Annotated[list[str] | None, typer.Option("--limit", help=_LIMIT_HELP)] = None,
    quota: Annotated[str | None, typer.Option("--quota", help="ArksQuota to charge.")] = None,
    expires: Annotated[str | None, typer.Option("--expires", help="After 12h or 90d, or at a date.")] = None,
    key_file: Annotated[Path | None, typer.Option("--key-file", help=_KEY_FILE_HELP)] = None,
    namespace: NamespaceOption = NO_NAMESPACE,
    home: HomeOption = NO_HOME,
) -> None:
    """Create a random API key. It is shown once: Arks stores only its hash.

    \b
    arks token create ada --endpoint smollm2 --expires 90d
    arks token create ci -e smollm2 --limit rpm=60 --limit tpm=20000 --key-file ci.key
    """
    from arks.kit.key import Key
    from arks.local.files.credentials import new_key

    spec: dict[str, Any] = {"qos": [_qos(endpoint, limits or [], quota) for endpoint in endpoints]}
    if expires is not None:
        spec["expiresAt"] = _timestamp(_expiry(expires, datetime.now(UTC)))
    key = new_key()
    asyncio.run(_create(home, Key(namespace, name), key, spec, key_file))
    _print_key(key, key_file)
    _warn_of_missing(read(home, _NAMED_BY_TOKENS), namespace, name)


def _expiry(text: str, now: datetime) -> datetime:
    """Raises Failure for a time that has passed: the key would never work."""
    at = parse_until(text, now)
    if at <= now:
        fail(f"{text!r} is in the past: the key would never work", "write 12h, 90d, or a later date", Exit.USAGE)
    return at


@app.command()
def rotate(
    name: TokenArgument,
    grace: Annotated[str, typer.Option("--grace", help="How long the old key still works: 0s, 1h, 7d.")] = "24h",
    key_file: Annotated[Path | None, typer.Option("--key-file", help=_KEY_FILE_HELP)] = None,
    namespace: NamespaceOption = NO_NAMESPACE,
    home: HomeOption = NO_HOME,
) -> None:
    """Replace a key by a new one. The old key works for the grace period, so that clients can change.

    \b
    arks token rotate ada
    arks token rotate ada --grace 0s --key-file ada.key
    """
    from arks.contracts.api_key import hash_key
    from arks.local.files.credentials import new_key

    lasts = parse_duration(grace)
    key = new_key()
    key_hash = hash_key(asyncio.run(_pepper(home)), key)
    now = datetime.now(UTC)
    until = now + lasts

    def change(spec: dict[str, Any]) -> None:
        rotate_spec(spec, key_hash, _timestamp(until) if until > now else None, _timestamp(now))

    if key_file is not None:
        _write_key(key_file, key)
    asyncio.run(change_spec(home, TOKEN, namespace, name, change))
    typer.echo(f"arkstoken/{name} rotated; the old key works until {_timestamp(until)}", err=True)
    _print_key(key, key_file)


@app.command()
def revoke(
    name: TokenArgument,
    undo: Annotated[bool, typer.Option("--undo", help="Let the key work again.")] = False,
    namespace: NamespaceOption = NO_NAMESPACE,
    home: HomeOption = NO_HOME,
) -> None:
    """Reject a key at once. Its usage stays; `arks delete token NAME` removes the resource.

    \b
    arks token revoke ada
    arks token revoke ada --undo
    """

    def change(spec: dict[str, Any]) -> None:
        spec["disabled"] = not undo

    asyncio.run(change_spec(home, TOKEN, namespace, name, change))
    print_text(f"arkstoken/{name} {'works again' if undo else 'revoked'}")


def rotate_spec(spec: dict[str, Any], new_hash: str, until: str | None, now: str) -> None:
    """Make the new key the token's key; the present one stays valid until a time, unless that is None.

    Previous keys that have expired are dropped. Raises Failure for a key that is in a Secret.
    """
    if "tokenSecretRef" in spec:
        fail("the key of this token is in a Secret", "change the Secret: the new key works within seconds", Exit.USAGE)
    previous = [item for item in spec.get("previous", []) if item["until"] > now]
    if until is not None:
        previous.insert(0, {"tokenHash": spec["tokenHash"], "until": until})
    spec["tokenHash"] = new_hash
    spec["previous"] = previous


def _timestamp(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _print_key(key: str, key_file: Path | None) -> None:
    if key_file is None:
        print_text(key)
        typer.echo("Store this key now: it will not be shown again.", err=True)


def _warn_of_missing(found: dict[Kind, list[dict[str, Any]]], namespace: str | None, name: str | None = None) -> None:
    """Of endpoints and quotas that tokens name and that do not exist. None: all tokens, of all namespaces."""
    from arks.local.render.references import missing_references

    of = {(TOKEN.name, item["metadata"]["namespace"], item["metadata"]["name"]) for item in found[TOKEN]}
    chosen = {item for item in of if item[1] == (namespace or item[1]) and item[2] == (name or item[2])}
    for text in missing_references(found, chosen):
        typer.echo(f"warning: {text}", err=True)


def _qos(endpoint: str, limits: list[str], quota: str | None) -> dict[str, Any]:
    rules = [{"type": kind, "value": int(value)} for kind, value in map(_limit, limits)]
    extra = {"quota": {"name": quota}} if quota else {}
    return {"arksEndpoint": {"name": endpoint}, "rateLimits": rules, **extra}


def _limit(text: str) -> tuple[str, str]:
    kind, _, value = text.partition("=")
    if kind not in _RULES or not value.isdigit():
        fail(f"{text!r} is not a limit", f"write one of {', '.join(f'{rule}=NUMBER' for rule in _RULES)}", Exit.USAGE)
    return kind, value


async def _create(home: Home, name: "Key", secret: str, spec: dict[str, Any], key_file: Path | None) -> None:
    from pydantic import ValidationError

    from arks.contracts.api_key import hash_key
    from arks.contracts.resources import ArksToken

    token_hash = hash_key(await _pepper(home), secret)
    metadata = {"name": name.name, "namespace": name.namespace}
    data = {"apiVersion": "arks.ai/v1", "kind": "ArksToken", "metadata": metadata}
    try:
        token = ArksToken.from_dict(data | {"spec": spec | {"tokenHash": token_hash}})
    except ValidationError as error:
        fail_invalid(error, ArksToken, "nothing was created; see `arks token create --help`")
    async with connected(home) as store:
        if await store.read(ArksToken, name) is not None:
            fail(
                f"ArksToken {name} exists already",
                f"`arks token rotate {name.name} -n {name.namespace}` gives it a new key",
            )
        if key_file is not None:
            _write_key(key_file, secret)
        await store.apply(token)
    typer.echo(f"arkstoken/{name.name} created", err=True)


async def _pepper(home: Home) -> bytes:
    """What the hashes of keys are made with. Raises Failure."""
    if isinstance(home, ClusterHome):
        async with cluster_of(home) as cluster:
            return (await cluster.secret("pepper")).encode()
    paths = Paths.of(home)
    running_state(paths)
    return paths.pepper.read_bytes().strip()


def _write_key(file: Path, key: str) -> None:
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(key)
    except FileExistsError:
        fail(f"{file} exists already and was not changed", "name another file with --key-file", Exit.USAGE)
    except OSError as error:
        fail(f"cannot write {file}: {error.strerror or error}", "name another file with --key-file", Exit.USAGE)
