"""Which files are generated, and whether those on disk are current."""

from pathlib import Path, PurePosixPath

from tools.generate.chart_readme import chart_readme
from tools.generate.crds import definitions
from tools.generate.reference import reference_page

CRD_DIRECTORY = PurePosixPath("charts/arks-crds/templates")
"""Templates rather than Helm's `crds/`, which an upgrade would never touch."""
CHARTS = ("arks", "arks-crds")
_SOURCES = Path(__file__).parents[2]
"""The checkout, whose charts and pages the READMEs of the charts are made from."""
_NOTE = "# Generated from libs/contracts by `python -m tools.generate`: change the models, not this file.\n"


def generated_files() -> dict[PurePosixPath, str]:
    """Path from the repository's root to content."""
    definitions_by_path = {CRD_DIRECTORY / name: _NOTE + text for name, text in definitions().items()}
    readmes = {PurePosixPath("charts") / chart / "README.md": chart_readme(_SOURCES, chart) for chart in CHARTS}
    return definitions_by_path | readmes | {PurePosixPath("docs/resources.md"): reference_page()}


def stale_files(root: Path, files: dict[PurePosixPath, str]) -> list[PurePosixPath]:
    """Files that differ or are missing, and definitions on disk that no kind has any more."""
    changed = [path for path, content in files.items() if _read(root / path) != content]
    on_disk = (CRD_DIRECTORY / found.name for found in (root / CRD_DIRECTORY).glob("*.yaml"))
    return changed + sorted(path for path in on_disk if path not in files)


def write_files(root: Path, files: dict[PurePosixPath, str], stale: list[PurePosixPath]) -> None:
    for path in stale:
        target = root / path
        if path not in files:
            target.unlink()
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(files[path], encoding="utf-8")


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
