"""The pages name modules, files and links that exist, and the README's picture fits a terminal."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("e2e/**/*.md")])
SOURCES = [*ROOT.glob("libs/*/src"), *ROOT.glob("services/*/src"), ROOT / "deploy/local/src"]
PACKAGES = {path.name for source in SOURCES for path in (source / "arks").iterdir() if path.is_dir()} - {"events"}
"""Without arks.events, because subjects of NATS begin like it."""
MODULE = re.compile(rf"`(?:python -m )?(arks\.(?:{'|'.join(sorted(PACKAGES))})(?:\.\w+)+)")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
FILE = re.compile(r"`((?:services|libs|deploy|charts|docs|e2e|bench|protos|tests|\.ci)/[\w./-]+)`")
MOST_COLUMNS = 80
NOT_FILES = {"services/proxy"}
"""A right in Kubernetes looks like a file."""


def _exists(name: str) -> bool:
    """`name` is a module, or a name in one."""
    for source in SOURCES:
        path = source.joinpath(*name.split("."))
        if path.is_dir() or path.with_suffix(".py").is_file():
            return True
        parent = path.parent.with_suffix(".py")
        if not parent.is_file():
            parent = path.parent / "__init__.py"
        if parent.is_file() and re.search(rf"\b{path.name}\b", parent.read_text()):
            return True
    return False


def _named(pattern: re.Pattern[str], page: Path) -> set[str]:
    return set(pattern.findall(page.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_named_module_exists(page: Path) -> None:
    assert set() == {name for name in _named(MODULE, page) if not _exists(name)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_every_file_of_the_repository_exists(page: Path) -> None:
    links = {link for link in _named(LINK, page) if not (page.parent / link).exists()}
    files = _named(FILE, page) - NOT_FILES
    assert set() == links | {file for file in files if not ((ROOT / file).exists() or (page.parent / file).exists())}


TEST = re.compile(r"`([\w./-]+\.py)::(test_\w+)`")


def test_every_test_that_a_page_names_exists() -> None:
    named = {(page.name, *found) for page in PAGES for found in TEST.findall(page.read_text())}
    assert len(named) > 40
    assert set() == {
        (page, file, name)
        for page, file, name in named
        if not (ROOT / file).is_file() or f"def {name}(" not in (ROOT / file).read_text()
    }


MAKE = re.compile(r"(?:^|`)make ([a-z][a-z-]*)\b", re.MULTILINE)
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
EVERY_PAGE = [*PAGES, *sorted(ROOT.glob("services/*/README.md")), *sorted(ROOT.glob("deploy/*/README.md"))]


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_target_of_make_exists(page: Path) -> None:
    assert set() == _named(MAKE, page) - TARGETS


def test_files_that_commands_of_the_pages_name_exist() -> None:
    named = re.findall(
        r"^(?:kubectl|helm) .*?\s((?:deploy|charts)/[\w./-]+)", (ROOT / "docs/kubernetes.md").read_text(), re.MULTILINE
    )
    assert {"deploy/examples/quickstart.yaml", "charts/arks", "charts/arks-crds"} == set(named)
    assert [] == [path for path in named if not (ROOT / path).exists()]


def test_the_picture_of_the_readme_fits_a_terminal() -> None:
    picture = (ROOT / "README.md").read_text().partition("## How it works")[2].split("```")[1]
    assert max(len(line) for line in picture.splitlines()) <= MOST_COLUMNS


def test_the_first_screen_of_the_readme_is_from_the_recording() -> None:
    shown = (ROOT / "README.md").read_text().partition("```console\n")[2].partition("```")[0]
    recorded = {_without_figures(line) for line in (ROOT / "docs/first-answer.md").read_text().splitlines()}
    assert [] == [line for line in shown.splitlines() if _without_figures(line) not in recorded]


def _without_figures(line: str) -> str:
    return " ".join(re.sub(r"[\d.]+", "0", line).split())


WALK = re.compile(r"^\*\*One .*?\*\* \(([\w-]+).*$", re.MULTILINE)
STEP = re.compile(r"`([\w/{},]+\.(?:py|lua))`")


def _files_of(walk: re.Match[str]) -> list[Path]:
    """The files of a walk in order; `{a,b}` names several."""
    service = walk.group(1)
    package = ROOT / "services" / service / "src/arks" / service.replace("-", "_")
    files = []
    for step in STEP.findall(walk.group()):
        before, names, after = re.fullmatch(r"([^{]*)(?:\{(.*)\})?(.*)", step).groups()  # type: ignore[union-attr]
        for name in (names or "").split(","):
            path = f"{before}{name}{after}"
            files.append(ROOT / "libs/kit/src/arks" / path if path.startswith("kit/") else package / path)
    return files


WALKS = list(WALK.finditer((ROOT / "docs/architecture.md").read_text()))


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk[1])
def test_a_walk_names_existing_files_and_none_twice(walk: re.Match[str]) -> None:
    files = _files_of(walk)
    assert len(files) > 10
    assert [file for file in files if not file.is_file()] == []
    assert len(files) == len(set(files))
