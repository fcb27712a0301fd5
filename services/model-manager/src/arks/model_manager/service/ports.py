"""Ports of the service: what it needs from the two homes."""

from collections.abc import Mapping, Sequence, Set
from typing import Protocol

from arks.contracts.resources import ArksModel, ArksModelSpec, ArksModelStatus
from arks.kit.key import Key
from arks.model_manager.domain.credentials import Credentials
from arks.model_manager.domain.node_cache.copies import AgentState, Copy
from arks.model_manager.domain.node_cache.plan import CacheNode
from arks.model_manager.domain.observation import Download, StoredWeights
from arks.model_manager.domain.removal import Removal
from arks.model_manager.domain.weights_source import WeightsSource


class Storage(Protocol):
    """Directories and download processes on one machine; PVCs and Jobs on Kubernetes.

    Models whose storage paths overlap share files. `key` names the model that a call is made for.
    """

    def storage_path(self, key: Key, spec: ArksModelSpec) -> str: ...

    async def observe(self, storage_path: str, source: WeightsSource) -> tuple[StoredWeights, Download | None]:
        """The weights there, compared with `source`, and a running or failed download. Cheap: reads no content."""

    async def prepare(self, storage_path: str, key: Key) -> None:
        """Create the storage if it does not exist. Raises ArksError."""

    async def download(self, storage_path: str, key: Key, source: WeightsSource, credentials: Credentials) -> None:
        """Start to download (or check) the source in the background. A running download of it continues; one of
        another source ends first. `credentials`: of the source; empty where downloads get them from the platform.

        Raises Invalid if a person has to fix something first, other ArksErrors if a retry may help.
        """

    async def stop(self, storage_path: str) -> None:
        """Stop the download, if there is one. Downloaded bytes stay."""

    async def remove(self, storage_path: str, key: Key, *, shared: bool) -> Removal:
        """The model is deleted: remove what Arks created, unless other models share it. Raises ArksError."""


class Publisher(Protocol):
    """The model's fact, for other services, and its events, for users."""

    def write_fact(self, model: ArksModel, status: ArksModelStatus) -> None: ...
    def publish_event(
        self, verb: str, model: ArksModel, status: ArksModelStatus, message: str | None = None
    ) -> None: ...
    def remove_fact(self, key: Key) -> None: ...
    def keep_fact(self, key: Key) -> None:
        """The fact stays as it was written, perhaps before a restart."""

    def complete_facts(self) -> None:
        """Every model has a fact now: called once after a start."""


class CacheHome(Protocol):
    """Nodes with agents, on Kubernetes. Every method raises ArksError."""

    async def nodes(self) -> list[CacheNode]:
        """Nodes that have an agent, without states of copies."""

    async def found(self, node: CacheNode) -> AgentState:
        """The copies that the node has, whatever it is to keep."""

    async def keep(self, node: CacheNode, copies: Sequence[Copy]) -> AgentState:
        """Send the node's agent the copies that it keeps."""

    async def prepare(self, model: ArksModel) -> None:
        """Create the volume of the model's namespace, or make the model another owner of it."""

    async def exports(self) -> Mapping[Key, str]:
        """Base URLs of the exports that exist, by model; empty for those that do not serve yet."""

    async def export(self, model: ArksModel) -> None: ...
    async def end_export(self, key: Key) -> None: ...
    async def label(self, node: CacheNode, labels: Set[str]) -> None:
        """Set exactly these labels of copies on the node."""

    async def clean(self, namespaces: Set[str]) -> None:
        """Delete volumes that no pod can use any more, except those of these namespaces."""
