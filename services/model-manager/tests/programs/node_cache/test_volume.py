"""What the agent does in a volume that others change."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arks.model_manager.adapters import marker
from arks.model_manager.programs.node_cache.volume import Volume

FILES = {"config.json": b"{}", "deep/er/weights": b"weights"}


@pytest.fixture
def content(tmp_path: Path) -> Path:
    """The agent's directory of a copy."""
    return make_content(tmp_path / "own")


def make_content(directory: Path) -> Path:
    for name, body in FILES.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(body)
    marker.mark_complete(directory, marker.Complete("fingerprint", "revision", ()))
    return directory


def shown(directory: Path) -> dict[str, bytes]:
    found = (path for path in directory.rglob("*") if path.is_file() and ".arks" not in path.parts)
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def deep(path: Path) -> None:
    """Deeper than a call stack, and than a program may open files."""
    path.mkdir()
    at = os.open(path, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=at)
        inner = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)


def directory_with_link(path: Path) -> None:
    path.mkdir()
    (path / "x").symlink_to(path.parent.parent / "outside")


PLANTED: dict[str, Callable[[Path], object]] = {
    "a link to a directory": lambda path: path.symlink_to(path.parent.parent / "outside"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a file": lambda path: path.write_bytes(b"x"),
    "a pipe": os.mkfifo,
    "a directory without rights": lambda path: path.mkdir(mode=0),
    "a deep directory": deep,
    "a directory with a link": directory_with_link,
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED.keys())
@pytest.mark.parametrize("where", ["models", "models/tiny"])
def test_a_copy_replaces_planted_entries(
    where: str, planted: Callable[[Path], object], content: Path, tmp_path: Path
) -> None:
    root, outside = tmp_path / "volume", tmp_path / "outside"
    (root / where).parent.mkdir(parents=True)
    outside.mkdir()
    (outside / "theirs").write_bytes(b"theirs")
    planted(root / where)
    volume = Volume(root)
    assert not volume.shows("models/tiny", content, FILES)
    volume.show("models/tiny", content, FILES)
    assert volume.shows("models/tiny", content, FILES)
    assert FILES == shown(root / "models/tiny")
    volume.keep(["models/tiny"])
    assert [["theirs"], ["models"], ["tiny"]] == [names(outside), names(root), names(root / "models")]


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED.keys())
@pytest.mark.parametrize("name", ["config.json", "deep", ".arks"])
def test_a_copy_with_a_replaced_file_is_shown_again(
    name: str, planted: Callable[[Path], object], content: Path, tmp_path: Path
) -> None:
    volume = Volume(tmp_path / "volume")
    volume.show("tiny", content, FILES)
    (tmp_path / "volume/tiny" / name).rename(tmp_path / "away")
    planted(tmp_path / "volume/tiny" / name)
    assert not volume.shows("tiny", content, FILES)
    volume.show("tiny", content, FILES)
    assert FILES == shown(tmp_path / "volume/tiny")


def test_files_of_the_version_before_are_gone(content: Path, tmp_path: Path) -> None:
    volume = Volume(tmp_path / "volume")
    volume.show("tiny", content, FILES)
    volume.show("tiny", content, ["config.json"])
    assert {"config.json": b"{}"} == shown(tmp_path / "volume/tiny")


def test_only_what_is_kept_stays(content: Path, tmp_path: Path) -> None:
    volume = Volume(tmp_path / "volume")
    for path in ("models/a", "models/b", "c"):
        volume.show(path, content, FILES)
    (tmp_path / "volume/junk").write_bytes(b"x")
    deep(tmp_path / "volume/models/deep")
    volume.keep(["models/a"])
    assert {f"models/a/{name}": body for name, body in FILES.items()} == shown(tmp_path / "volume")
    assert ["a"] == names(tmp_path / "volume/models")


NAMES = st.sampled_from(["models", "tiny", "config.json", "deep", ".arks"])
ENTRIES = st.recursive(
    st.sampled_from(["file", "to outside", "to a file outside", "up"]),
    lambda entries: st.dictionaries(NAMES, entries, max_size=3),
    max_leaves=12,
)


@settings(max_examples=40)
@given(entry=st.dictionaries(NAMES, ENTRIES))
def test_nothing_that_is_planted_changes_what_is_outside(
    entry: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.mktemp("volume")
    content = make_content(base / "own")
    make_content(base / "outside/tiny")
    root = base / "volume"
    plant(root, entry, base / "outside")
    before = state(base / "outside"), state(content)
    volume = Volume(root)
    volume.show("models/tiny", content, FILES)
    assert FILES == shown(root / "models/tiny")
    volume.keep(["models/tiny"])
    assert {f"models/tiny/{name}": body for name, body in FILES.items()} == shown(root)
    volume.keep([])
    assert [] == names(root)
    assert before == (state(base / "outside"), state(content))


def plant(at: Path, entry: object, outside: Path) -> None:
    if isinstance(entry, dict):
        at.mkdir()
        for name, inner in entry.items():
            plant(at / name, inner, outside)
    elif entry == "file":
        at.write_bytes(b"planted")
    elif entry == "up":
        at.symlink_to("../../../outside")
    else:
        at.symlink_to(outside if entry == "to outside" else outside / "tiny/config.json")


def state(directory: Path) -> dict[str, tuple[int, bytes]]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path): (path.lstat().st_ino, path.read_bytes()) for path in files}
