"""Space for a download: what no model uses makes room for it, and a reserve stays free for the engines and services."""

from pathlib import Path

from arks.contracts.quantities import human_bytes
from arks.model_manager.adapters.collector import Collector, ReadDisk
from arks.model_manager.domain.failures import DownloadFailed, FailureKind


class DiskSpace:
    def __init__(self, directory: Path, reserve_bytes: int, collector: Collector, disk: ReadDisk) -> None:
        """`directory`: of the model. `collector`: of the stores on the same disk."""
        self._directory = directory
        self._reserve_bytes = reserve_bytes
        self._collector = collector
        self._disk = disk

    def require(self, missing_bytes: int) -> None:
        """Raises DownloadFailed if so many bytes do not fit beside the reserve, and OSError."""
        if missing_bytes == 0:
            return
        needed = missing_bytes + self._reserve_bytes
        if self._free_bytes() >= needed:
            return
        freed = self._collector.collect(needed)
        free = self._free_bytes()
        if free >= needed:
            return
        needs = f"{self._directory} needs {human_bytes(missing_bytes)} more"
        reserve = f"{human_bytes(self._reserve_bytes)} in reserve, {human_bytes(free)} are free"
        deleted = f" after {human_bytes(freed)} that no model uses were deleted" if freed else ""
        advice = "delete a model or enlarge the storage"
        raise DownloadFailed(FailureKind.NO_SPACE, f"{needs} and {reserve}{deleted}: {advice}")

    def collect(self) -> None:
        """Delete what the watermarks require."""
        self._collector.collect()

    def _free_bytes(self) -> int:
        return self._disk(self._directory).free_bytes
