"""`arks edit`: change a resource in an editor."""

import asyncio
import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from arks.local.cli.connection import on_this_machine
from arks.local.cli.failure import Exit, fail
from arks.local.cli.options import NO_HOME, NO_NAMESPACE, LocalHomeOption, NamespaceOption, TargetsArgument
from arks.local.cli.output import print_text
from arks.local.cli.reading import read
from arks.local.cli.targets import select, targets
from arks.local.render.kinds import SECRET

_SERVER_FIELDS = ("creationTimestamp", "deletionTimestamp", "finalizers", "generation", "resourceVersion", "uid")

_OTHER_EDITOR = "name another one in the variable EDITOR, as in `EDITOR=nano arks edit app NAME`"


def edit(
    resources: TargetsArgument, namespace: NamespaceOption = NO_NAMESPACE, home: LocalHomeOption = NO_HOME
) -> None:
    """Change a resource in an editor ($KUBE_EDITOR, $EDITOR or vi). What is invalid is not applied, and not lost.

    \b
    arks edit app smollm2
    """
    chosen = targets(resources, named=True)
    if len(chosen) != 1 or len(chosen[0].names) != 1 or chosen[0].kind is SECRET:
        fail("edit takes one resource that is not a Secret", "as in `arks edit app smollm2`", Exit.USAGE)
    kind = chosen[0].kind
    found = select(kind, read(home, [kind])[kind], chosen[0].names, namespace)[0]
    before = editable(found)
    after, file = _edited(before, f"{kind.word}-{found['metadata']['name']}-")
    if after == before:
        file.unlink()
        print_text("Edit cancelled, no changes made.")
        return
    _apply(home, after, file, namespace)


def editable(resource: dict[str, Any]) -> str:
    """The part that users write, as YAML."""
    from arks.local.render.yaml_text import to_yaml

    metadata = {name: value for name, value in resource["metadata"].items() if name not in _SERVER_FIELDS}
    shown = {name: value for name, value in resource.items() if name != "status"} | {"metadata": metadata}
    return to_yaml(shown)


def _edited(text: str, prefix: str) -> tuple[str, Path]:
    """The text after the editor has ended, and its file. Raises Failure."""
    editor = shlex.split(os.environ.get("KUBE_EDITOR") or os.environ.get("EDITOR") or "vi")
    descriptor, name = tempfile.mkstemp(prefix=f"arks-{prefix}", suffix=".yaml")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    try:
        subprocess.run([*editor, name], check=True)
    except OSError as error:
        fail(f"cannot start the editor {editor[0]}: {error.strerror}", _OTHER_EDITOR, Exit.FAILED)
    except subprocess.CalledProcessError as error:
        fail(f"nothing was changed: {editor[0]} ended with status {error.returncode}", _OTHER_EDITOR, Exit.FAILED)
    return Path(name).read_text(), Path(name)


def _apply(home: Path, text: str, file: Path, namespace: str) -> None:
    from arks.local.manifests import parse_manifests

    manifests = parse_manifests([(str(file), text)], default_namespace=namespace)
    if manifests.errors or len(manifests.resources) != 1:
        listed = "\n".join(str(error) for error in manifests.errors) or "the file must hold one resource"
        fail(
            f"nothing was changed\n{listed}", f"your text is kept: correct it, then `arks apply -f {file}`", Exit.USAGE
        )

    async def apply() -> None:
        async with on_this_machine(home) as store:
            resource = manifests.resources[0]
            print_text(f"{resource.singular}/{resource.name} {await store.apply(resource)}")

    asyncio.run(apply())
    file.unlink()
