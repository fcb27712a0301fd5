"""`arks model`: add models from any source, and list them with their size and users."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arks.local.cli.connection import on_this_machine
from arks.local.cli.failure import Exit, Failure
from arks.local.cli.given_options import copyable
from arks.local.cli.invalid import fail_invalid
from arks.local.cli.options import (
    NO_HOME,
    NO_NAMESPACE,
    AllNamespacesOption,
    LocalHomeOption,
    NamespaceOption,
    OutputOption,
)
from arks.local.cli.output import print_data, print_text, terminal_width
from arks.local.cli.reading import read
from arks.local.cli.waiting import Awaited, wait_ready
from arks.local.plan import model_source
from arks.local.plan.serve import Manifest, NotServable
from arks.local.render.kinds import APPLICATION, DISAGGREGATED, MODEL

if TYPE_CHECKING:
    from arks.kit.resources import Applied

app = typer.Typer(name="model", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Add models from any source, list and check them.

    \b
    arks model add hf:Qwen/Qwen2.5-0.5B-Instruct --wait
    arks model import ./tuned.gguf
    arks model ls
    arks model verify
    """


@app.command()
def add(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=model_source.FORMS)],
    name: Annotated[str | None, typer.Option("--name", help="Name of the model; default is made from SOURCE.")] = None,
    secret: Annotated[str | None, typer.Option("--secret", help="Secret with the source's credentials.")] = None,
    allow: Annotated[list[str] | None, typer.Option("--allow", help="Pattern of files; repeat for more.")] = None,
    endpoint: Annotated[str | None, typer.Option("--endpoint", help="URL of another hub or store.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the model is ready.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait.")] = 1800.0,
    namespace: NamespaceOption = NO_NAMESPACE,
    home: LocalHomeOption = NO_HOME,
) -> None:
    """Add a model; model-manager downloads it.

    \b
    arks model add hf:Qwen/Qwen2.5-0.5B-Instruct --wait
    arks model add s3://weights/qwen --endpoint http://store:9000 --secret keys
    arks model add oci://ghcr.io/acme/qwen:v1 --name qwen
    arks model add https://host/qwen.gguf
    """
    path = str(Path(source).expanduser().resolve()) if Path(source).expanduser().exists() else source
    try:
        manifest = model_source.manifest(
            path, name, namespace=namespace, secret=secret, allow=allow or [], endpoint=endpoint
        )
    except NotServable as error:
        raise Failure(str(error), error.next_step, Exit.USAGE) from error
    applied = asyncio.run(_apply(home, manifest))
    added = str(manifest["metadata"]["name"])
    print_text(f"arksmodel/{added} {applied}")
    if wait:
        wait_ready(home, [Awaited(MODEL, namespace, added)], timeout)


@app.command("ls")
def list_models(
    namespace: NamespaceOption = NO_NAMESPACE,
    all_namespaces: AllNamespacesOption = False,
    output: OutputOption = None,
    home: LocalHomeOption = NO_HOME,
) -> None:
    """List models: source, state, size, path, and the applications that use them."""
    from arks.local.render.models import models_table

    found = read(home, [MODEL, APPLICATION, DISAGGREGATED])
    models = [model for model in found[MODEL] if all_namespaces or model["metadata"]["namespace"] == namespace]
    if output is not None:
        print_data(models, output)
    elif models:
        print_text(models_table(models, [*found[APPLICATION], *found[DISAGGREGATED]], terminal_width()))
    else:
        print_text(copyable("no models; `arks model add hf:OWNER/NAME` adds one"))


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Models; default: all.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Fetch damaged files again.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait for a repair.")] = 1800.0,
    namespace: NamespaceOption = NO_NAMESPACE,
    home: LocalHomeOption = NO_HOME,
) -> None:
    """Hash files again and compare them with what was recorded at their download.

    \b
    arks model verify
    arks model verify qwen --repair
    """
    from arks.local.cli.model_verify import verify as verify_models
    from arks.local.cli.targets import select

    found = select(MODEL, read(home, [MODEL])[MODEL], tuple(names or ()), namespace)
    present = [model for model in found if (model.get("status") or {}).get("path")]
    if not present:
        raise Failure(f"no model with files in namespace {namespace}", "see `arks model ls`")
    verify_models(home, present, repair=repair, timeout=timeout)


@app.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="GGUF file.")],
    name: Annotated[str | None, typer.Option("--name", help="Name of the model; default is made from FILE.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the model is ready.")] = True,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait.")] = 60.0,
    namespace: NamespaceOption = NO_NAMESPACE,
    home: LocalHomeOption = NO_HOME,
) -> None:
    """Copy a GGUF file into Arks' own storage as a model. `arks model add FILE` uses it in place instead.

    \b
    arks model import ~/Downloads/tuned.gguf --name tuned
    """
    from arks.local.cli.model_import import copy

    try:
        manifest = model_source.imported(str(file.expanduser().resolve()), name, namespace=namespace)
    except NotServable as error:
        raise Failure(str(error), error.next_step, Exit.USAGE) from error
    added = str(manifest["metadata"]["name"])
    copy(home, file.expanduser().resolve(), namespace, added)
    print_text(f"arksmodel/{added} {asyncio.run(_apply(home, manifest))}")
    if wait:
        wait_ready(home, [Awaited(MODEL, namespace, added)], timeout)


async def _apply(home: Path, manifest: Manifest) -> "Applied":
    from pydantic import ValidationError

    from arks.contracts.resources import ArksModel

    try:
        parsed = ArksModel.from_dict(manifest)
    except ValidationError as error:
        fail_invalid(error, ArksModel, "check the source, or give another --name")
    async with on_this_machine(home) as store:
        return await store.apply(parsed)
