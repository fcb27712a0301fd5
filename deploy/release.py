"""Prepares a release: writes its version everywhere, then builds wheels and charts into `dist/`. Publishes nothing.

usage: make release VERSION=1.2.3

The version has one place, `project.version` in the root's pyproject.toml. All other mentions are copies, because uv's
build backend, Helm and the pages need it written out; `tests/test_release.py` compares them.
"""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from arks.kit.testing.helm import helm

ROOT = Path(__file__).parents[1]
CHARTS = ("charts/arks-crds", "charts/arks")
_NUMBER = r"\d+\.\d+\.\d+"
_IN_PROJECT = re.compile(rf'^(version = ")({_NUMBER})(?=")', re.MULTILINE)
_IN_CHART = re.compile(rf"^((?:version|appVersion): )({_NUMBER})$", re.MULTILINE)
_IN_TEXT = re.compile(
    rf"(\barks/[a-z-]+:|--tag |app\.kubernetes\.io/version: |helm\.sh/chart: arks-)({_NUMBER})(?![\w.-]*\w)"
)
"""Tags of images, and labels in golden files."""
_IN_LOCK = re.compile(rf'^(name = "arks(?:-[a-z-]+)?"\nversion = ")({_NUMBER})(?=")', re.MULTILINE)
_NO_COPIES = {"CHANGELOG.md", "tests/test_release.py"}
"""They name other versions too."""
NEXT_STEPS = """
version {version} is written, dist/ holds {count} files. What a person does next:

  git diff                                            # only versions differ
  make lint verify test-unit
  git commit -am "Release {version}" && git tag -a v{version} -m "Arks {version}"
  git push origin main v{version}
  make push REGISTRY=registry.example.com/arks              # builds and pushes the images
  helm push dist/arks-{version}.tgz oci://REGISTRY/charts && helm push dist/arks-crds-{version}.tgz oci://REGISTRY/charts
  uv publish dist/*.whl
"""


class NotReleasable(Exception):
    """Why this version cannot be released now."""


def current_version(root: Path = ROOT) -> str:
    return str(tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"])


def _pattern(path: str) -> re.Pattern[str]:
    match Path(path).name:
        case "pyproject.toml" | "Cargo.toml":
            return _IN_PROJECT
        case "Chart.yaml":
            return _IN_CHART
        case "uv.lock" | "Cargo.lock":
            return _IN_LOCK
        case _:
            return _IN_TEXT


def _texts(root: Path) -> Iterator[tuple[str, str]]:
    """(path, content) of all tracked text files that may hold a copy of the version."""
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True)
    for path in listed.stdout.splitlines():
        if path in _NO_COPIES or not (root / path).is_file():
            continue
        try:
            yield path, (root / path).read_text()
        except UnicodeDecodeError:
            continue


def copies(root: Path = ROOT) -> dict[str, set[str]]:
    """Path -> the versions that it names."""
    found = {path: {match[2] for match in _pattern(path).finditer(text)} for path, text in _texts(root)}
    return {path: versions for path, versions in found.items() if versions}


def write_version(version: str, root: Path = ROOT) -> None:
    """Replaces every copy."""
    for path, text in list(_texts(root)):
        replaced = _pattern(path).sub(rf"\g<1>{version}", text)
        if replaced != text:
            (root / path).write_text(replaced)


def changelog_entry(version: str, changelog: str) -> str:
    """The text below the version's heading; "" if it has none."""
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d{{2}}-\d{{2}}\n(.*?)(?=^## |\Z)"
    found = re.search(heading, changelog, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


def check(version: str, *, current: str, changelog: str, tags: set[str], changed_files: list[str]) -> None:
    """Raises NotReleasable."""
    if not re.fullmatch(_NUMBER, version):
        raise NotReleasable(f"{version!r} is not a version such as 1.2.3")
    if _parts(version) < _parts(current):
        raise NotReleasable(f"{version} is older than {current}")
    if f"v{version}" in tags:
        raise NotReleasable(f"the tag v{version} exists")
    if changed_files:
        raise NotReleasable(f"commit or stash first: {', '.join(changed_files)}")
    if not changelog_entry(version, changelog):
        raise NotReleasable(f"CHANGELOG.md has no entry with the heading '## [{version}] - YYYY-MM-DD'")


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def build(uv: str) -> list[Path]:
    """Writes wheels of all packages and archives of all charts into dist/, in place of older ones."""
    dist = ROOT / "dist"
    dist.mkdir(exist_ok=True)
    for old in (*dist.glob("*.whl"), *dist.glob("*.tgz")):
        old.unlink()
    subprocess.run([uv, "build", "--quiet", "--all-packages", "--wheel", "--out-dir", str(dist)], cwd=ROOT, check=True)
    for chart in CHARTS:
        helm("package", str(ROOT / chart), "--destination", str(dist))
    return sorted((*dist.glob("*.whl"), *dist.glob("*.tgz")))


def main(version: str) -> None:
    uv = os.environ.get("UV", "uv")
    changelog = (ROOT / "CHANGELOG.md").read_text()
    changed_files = [line[3:] for line in _git("status", "--porcelain")]
    check(version, current=current_version(), changelog=changelog, tags=set(_git("tag")), changed_files=changed_files)
    write_version(version)
    # Not `uv lock`: it would write the whole file again wherever the index describes files differently.
    subprocess.run([uv, "lock", "--check", "--quiet"], cwd=ROOT, check=True)
    built = build(uv)
    print(NEXT_STEPS.format(version=version, count=len(built)).strip())


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except NotReleasable as error:
        raise SystemExit(f"not released: {error}") from None
