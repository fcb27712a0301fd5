"""`arks run`: download and serve a model."""

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arks.local.cli.connection import on_this_machine, running_state
from arks.local.cli.failure import Exit, Failure, fail
from arks.local.cli.first_answer import wait_for_answer
from arks.local.cli.given_options import copyable
from arks.local.cli.invalid import fail_invalid
from arks.local.cli.options import NO_HOME, LocalHomeOption
from arks.local.cli.output import print_text
from arks.local.cli.waiting import Awaited, wait_ready
from arks.local.files import credentials
from arks.local.files.paths import Paths
from arks.local.plan import demo, serve
from arks.local.plan.addresses import GATEWAY, gateway_url
from arks.local.render.kinds import APPLICATION, MODEL

if TYPE_CHECKING:
    from arks.local.client.store import Store

_MODEL_HELP = "OWNER/NAME on Hugging Face, OWNER/NAME:FILE, or the path of a GGUF file."
_FILE_HELP = "Which GGUF file: its name, a part of it (q8_0) or a pattern."
_NAME_HELP = "Name of the model for clients; default: made from the repository's."
_HUB_HELP = "URL of another hub with the same API; default HF_ENDPOINT, else Hugging Face."
_SECRET_HELP = "Secret whose key HF_TOKEN opens a private repository."  # noqa: S105  # a help text
_ANSWER_SECONDS = 60.0


def run(
    model: Annotated[str, typer.Argument(metavar="REPOSITORY|FILE", help=_MODEL_HELP)],
    name: Annotated[str | None, typer.Option("--name", help=_NAME_HELP)] = None,
    file: Annotated[str, typer.Option("--file", help=_FILE_HELP)] = "",
    hub: Annotated[str | None, typer.Option("--hub", envvar="HF_ENDPOINT", help=_HUB_HELP)] = None,
    token_secret: Annotated[str | None, typer.Option("--token-secret", help=_SECRET_HELP)] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="yaml: print the manifests and change nothing.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the first answer.")] = True,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait.")] = 3600.0,
    home: LocalHomeOption = NO_HOME,
) -> None:
    """Download and serve a model, and let the demo's API key use it.

    \b
    arks run Qwen/Qwen2.5-0.5B-Instruct-GGUF
    arks run Qwen/Qwen2.5-0.5B-Instruct-GGUF:q8_0 --name qwen
    arks run ./my-model.gguf
    arks run OWNER/NAME -o yaml > qwen.yaml
    """
    if output not in {None, "yaml"}:
        fail(f"{output!r} is not an output format of run", "write -o yaml", Exit.USAGE)
    paths = Paths.of(home)
    wish = _wish(model, file)
    state = None if output else running_state(paths)
    manifests = _manifests(wish, name, hub, token_secret)
    if state is None:
        from arks.local.render.yaml_text import to_yaml

        print_text("---\n".join(to_yaml(manifest) for manifest in manifests))
        return
    served = str(manifests[0]["metadata"]["name"])
    asyncio.run(_apply(paths, manifests))
    if wait:
        _wait(paths, served, state.ports[GATEWAY], timeout)
    url = gateway_url(state.ports[GATEWAY])
    print_text(
        copyable(f"""
{served} {"answers" if wait else "is created"} at {url} as model "{served}", with the key in {paths.demo_key}

  arks chat -m {served}
  eval "$(arks env)"
  arks delete app/{served} model/{served} endpoint/{served}
""")
    )


def _wish(model: str, file: str) -> serve.Wish:
    """Raises Failure for what cannot be served."""
    try:
        return serve.parse(model, file)
    except serve.NotServable as error:
        raise Failure(str(error), error.next_step, Exit.USAGE) from error


def _manifests(wish: serve.Wish, name: str | None, hub: str | None, token_secret: str | None) -> list[serve.Manifest]:
    """Raises Failure for what cannot be served."""
    from arks.kit import machine

    runtime = "llamacpp"
    if wish.repository:
        on_gpu = machine.has_gpu() and machine.has_program("vllm")
        try:
            wish, runtime = _resolved(wish, hub, on_gpu=on_gpu, private=token_secret is not None)
        except serve.NotServable as error:
            raise Failure(str(error), error.next_step, Exit.USAGE) from error
    return serve.manifests(
        wish,
        name or serve.name_of(wish),
        runtime=runtime,
        hub=hub,
        token_secret=token_secret,
        namespace=demo.NAMESPACE,
    )


def _resolved(wish: serve.Wish, hub: str | None, *, on_gpu: bool, private: bool) -> tuple[serve.Wish, str]:
    """The files to download and the runtime for them. Raises Failure, NotServable."""
    from arks.local.client.hub import HubProblem, files_of

    try:
        files = files_of(hub, wish.repository, os.environ.get("HF_TOKEN") if private else None)
    except HubProblem as error:
        if wish.pattern.endswith(".gguf"):
            return wish, "llamacpp"  # known well enough: model-manager downloads it when it can
        raise Failure(str(error), error.next_step) from error
    has_gguf = any(file.lower().endswith(".gguf") for file in files)
    if on_gpu and not has_gguf:
        return wish, "vllm"
    return serve.Wish(wish.repository, serve.choose_pattern(files, wish.pattern)), "llamacpp"


async def _apply(paths: Paths, manifests: list[serve.Manifest]) -> None:
    from pydantic import ValidationError

    from arks.contracts.resources import KINDS
    from arks.kit.key import Key

    async with on_this_machine(paths.home) as store:
        for manifest in manifests:
            resource = KINDS[manifest["kind"]]
            try:
                parsed = resource.from_dict(manifest)
            except ValidationError as error:
                fail_invalid(error, resource, "give another --name")
            existing = await store.read(resource, Key(parsed.namespace, parsed.name))
            if existing is not None and resource.__name__ == "ArksModel" and existing["spec"] != manifest["spec"]:
                fail(
                    f"there is another ArksModel {parsed.name}: {existing['spec'].get('model')}",
                    "give this one another name with --name NAME",
                    Exit.USAGE,
                )
            if existing is None:
                await store.apply(parsed)
        await _permit(paths, store, str(manifests[-1]["metadata"]["name"]))


async def _permit(paths: Paths, store: "Store", endpoint: str) -> None:
    """Let the demo's key use the endpoint. The key is created if there is none."""
    from arks.contracts.api_key import hash_key
    from arks.contracts.resources import ArksToken
    from arks.kit.key import Key

    existing: Mapping[str, Any] | None = await store.read(ArksToken, Key(demo.NAMESPACE, demo.NAME))
    if existing is None:
        key_hash = hash_key(paths.pepper.read_bytes().strip(), credentials.demo_key(paths))
        existing = demo.token(key_hash, [])
    spec = serve.with_permission(existing, endpoint)
    if spec is not None:
        fields: dict[str, Any] = {name: value for name, value in existing.items() if name != "status"}
        await store.apply(ArksToken.from_dict(fields | {"spec": spec}))


def _wait(paths: Paths, name: str, port: int, seconds: float) -> None:
    awaited = [Awaited(kind, demo.NAMESPACE, name) for kind in (MODEL, APPLICATION)]
    try:
        wait_ready(paths.home, awaited, seconds)
    except KeyboardInterrupt:
        fail(
            f"{name} is not ready yet; it goes on without this command",
            f"`arks wait app {name}` waits again",
            Exit.FAILED,
        )
    problem = wait_for_answer(port, credentials.demo_key(paths), name, _ANSWER_SECONDS)
    if problem is not None:
        fail(f"{name} is ready and does not answer: {problem}", f"see `arks explain {name}`", Exit.TIMED_OUT)
