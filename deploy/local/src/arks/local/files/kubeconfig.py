"""The contexts of a person's kubeconfig. Credentials are read by the client of Kubernetes."""

import os
from pathlib import Path
from typing import Any

DEFAULT = "~/.kube/config"


class KubeconfigUnreadable(Exception):
    """The message has the file and the reason."""


def read_contexts(variable: str | None) -> tuple[dict[str, str], str]:
    """The namespace of each context, and the current context's name; empty if there is none.

    `variable`: KUBECONFIG, which may name several files: the first that has a value wins. Raises KubeconfigUnreadable.
    """
    files = [Path(file).expanduser() for file in (variable or DEFAULT).split(os.pathsep) if file]
    existing = [file for file in files if file.exists()]
    if not existing:
        raise KubeconfigUnreadable(f"there is no kubeconfig {os.pathsep.join(map(str, files))}")
    contexts: dict[str, str] = {}
    current = ""
    for config in map(_load, existing):
        current = current or str(config.get("current-context") or "")
        for item in config.get("contexts") or []:
            contexts.setdefault(str(item.get("name")), (item.get("context") or {}).get("namespace") or "default")
    return contexts, current


def _load(file: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415  # only commands on clusters need it

    try:
        return dict(yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {})  # noqa: S506
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise KubeconfigUnreadable(f"cannot read {file}: {error}") from error
