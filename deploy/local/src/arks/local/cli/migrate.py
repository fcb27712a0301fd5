"""`arks migrate`: what changes for resources of the Go implementation. Changes nothing itself."""

from typing import Annotated, Any

import typer

from arks.local.cli.failure import Exit, fail
from arks.local.cli.manifest_files import read_texts
from arks.local.cli.options import FilesOption
from arks.local.cli.output import print_text


def migrate(
    files: FilesOption = None,
    take_ownership: Annotated[
        bool, typer.Option("--take-ownership", help="Print commands that hand HTTPRoutes over to their endpoints.")
    ] = False,
) -> None:
    """Show what changes for resources of the Go implementation, from a dump of the cluster. Nothing is changed.

    The exit code is 1 if Arks would refuse a resource.

    \b
    kubectl get arksapplications,arksmodels,arksendpoints,httproutes -A -o yaml > cluster.yaml
    arks migrate -f cluster.yaml
    """
    from arks.local.render.migration import Level, findings, objects_of, ownership_commands

    objects = objects_of(_documents(files or []))
    if take_ownership:
        print_text("".join(f"{command}\n" for command in ownership_commands(objects)))
        return
    found = findings(objects)
    print_text("".join(f"{finding.about}: {finding.level}: {finding.text}\n" for finding in found))
    print_text(f"{len(objects)} objects, {sum(finding.level is Level.ERROR for finding in found)} errors\n")
    if any(finding.level is Level.ERROR for finding in found):
        raise typer.Exit(Exit.FAILED)


def _documents(files: list[str]) -> list[dict[str, Any]]:
    """Raises Failure for what is no dump of objects."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster: dumps have megabytes
    documents: list[dict[str, Any]] = []
    for name, text in read_texts(files):
        try:
            read = [document for document in yaml.load_all(text, Loader=loader) if document is not None]
        except yaml.YAMLError as error:
            where = str(getattr(error, "problem_mark", "") or "").strip()
            fail(f"{name} is not YAML {where}".rstrip(), "give what `kubectl get -o yaml` printed", Exit.USAGE)
        if not all(isinstance(document, dict) for document in read):
            fail(f"{name} has no objects", "give what `kubectl get -o yaml` printed", Exit.USAGE)
        documents += read
    return documents
