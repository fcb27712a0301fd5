"""Where a command finds Arks: a directory of this machine, or a cluster."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from arks.local.cli.failure import Exit, Failure

if TYPE_CHECKING:
    from arks.kit.kube.access import Access

CURRENT = "-"
"""`--context -`: the kubeconfig's current context."""
DEFAULT_RELEASE_NAMESPACE = "arks-system"


@dataclass(eq=False)
class ClusterHome:
    """A cluster of the person's kubeconfig."""

    context: str
    release_namespace: str
    namespace: str | None = None
    """Whose resources the command reads; None: all."""
    _access: "Access | None" = None

    @property
    def shown(self) -> str:
        return "the current context" if self.context == CURRENT else f"context {self.context}"

    async def access(self) -> "Access":
        """URL and credentials, found once: a program that the kubeconfig names may run. Raises Failure."""
        from arks.kit.errors import Unavailable
        from arks.kit.kube.access import of_context

        if self._access is None:
            try:
                kubeconfig = os.environ.get("KUBECONFIG")  # may name several files, as the client of Kubernetes knows
                context = None if self.context == CURRENT else self.context
                self._access = await of_context(context, Path(kubeconfig) if kubeconfig else None)
            except (Unavailable, OSError) as error:
                raise no_access(self.shown, str(error)) from error
        return self._access


Home = Path | ClusterHome


def namespace_of_context(context: str) -> str:
    """The namespace that the kubeconfig has for the context. Raises Failure for a context that does not exist."""
    contexts, current = _contexts(context)
    wanted = current if context == CURRENT else context
    if wanted not in contexts:
        from arks.local.render.spelling import closest

        guess = closest(context, contexts)
        hint = f"did you mean {guess}?" if guess else f"contexts: {', '.join(sorted(contexts)[:10]) or 'none'}"
        raise Failure(f"the kubeconfig has no context {context!r}", hint, Exit.USAGE)
    return contexts[wanted]


def _contexts(context: str) -> tuple[dict[str, str], str]:
    """The namespace of each context, and the name of the current one."""
    from arks.local.files.kubeconfig import KubeconfigUnreadable, read_contexts

    try:
        return read_contexts(os.environ.get("KUBECONFIG"))
    except KubeconfigUnreadable as error:
        raise no_access(ClusterHome(context, "").shown, str(error)) from error


def no_access(by: str, problem: str) -> Failure:
    return Failure(f"no access to a cluster by {by}: {problem}", "check it with `kubectl cluster-info`")
