"""The version has one place, every package and chart names its license, and a release needs a changelog entry."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.release import NotReleasable, changelog_entry, check, copies, current_version, write_version

ROOT = Path(__file__).parents[1]
PROJECTS = sorted([ROOT / "pyproject.toml", *ROOT.glob("*/*/pyproject.toml")])
CHARTS = sorted(ROOT.glob("charts/*/Chart.yaml"))
CHANGELOG = """# Changelog

## [Unreleased]

## [0.3.0] - 2026-12-01

### Added

- A thing.

## [0.2.0] - 2026-11-01
"""
RELEASABLE: dict[str, Any] = {"current": "0.2.0", "changelog": CHANGELOG, "tags": {"v0.2.0"}, "changed_files": []}


def test_every_copy_of_the_version_is_the_version_of_the_project() -> None:
    version = current_version()
    assert {} == {path: versions for path, versions in copies().items() if versions != {version}}


def test_every_package_and_chart_and_the_locks_have_a_copy() -> None:
    crate = {"libs/gateway-filter/Cargo.toml", "libs/gateway-filter/Cargo.lock"}
    expected = {"uv.lock", *crate, *(str(path.relative_to(ROOT)) for path in (*PROJECTS, *CHARTS))}
    assert expected <= set(copies())


def test_the_changelog_has_an_entry_for_the_version() -> None:
    assert changelog_entry(current_version(), (ROOT / "CHANGELOG.md").read_text())


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.parent.name)
def test_every_package_names_its_license(project: Path) -> None:
    assert "Apache-2.0" == tomllib.loads(project.read_text())["project"]["license"]


@pytest.mark.parametrize("chart", CHARTS, ids=lambda path: path.parent.name)
def test_every_chart_names_its_license(chart: Path) -> None:
    assert "Apache-2.0" == yaml.safe_load(chart.read_text())["annotations"]["artifacthub.io/license"]


def test_a_version_with_an_entry_and_a_clean_checkout_is_releasable() -> None:
    check("0.3.0", **RELEASABLE)


@pytest.mark.parametrize(
    ("version", "state", "problem"),
    [
        ("0.3", {}, "is not a version"),
        ("0.1.0", {}, "is older than 0.2.0"),
        ("0.2.0", {}, "the tag v0.2.0 exists"),
        ("0.3.0", {"changed_files": ["Makefile"]}, "commit or stash first: Makefile"),
        ("0.4.0", {}, "CHANGELOG.md has no entry"),
        ("0.2.0", {"tags": set()}, "CHANGELOG.md has no entry"),
    ],
)
def test_a_release_is_refused_with_its_reason(version: str, state: dict[str, object], problem: str) -> None:
    with pytest.raises(NotReleasable, match=re.escape(problem)):
        check(version, **RELEASABLE | state)


def test_writing_a_version_changes_the_copies_and_nothing_else(tmp_path: Path) -> None:
    files = {
        "pyproject.toml": '[project]\nversion = "0.1.0"\nrequires-python = ">=3.11"\ndependencies = ["other==0.1.0"]\n',
        "charts/arks/Chart.yaml": "version: 0.1.0\nappVersion: 0.1.0\nkubeVersion: 1.30.0\n",
        "page.md": "`arks/metrics:0.1.0`, `nats:2.15.1-alpine`, `make images --tag 0.1.0`, other/image:0.1.0\n",
        "CHANGELOG.md": "## [0.1.0] - 2026-01-01\n",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    write_version("0.2.0", tmp_path)
    assert "0.2.0" == current_version(tmp_path)
    assert {"pyproject.toml", "charts/arks/Chart.yaml", "page.md"} == set(copies(tmp_path))
    assert {frozenset({"0.2.0"})} == {frozenset(versions) for versions in copies(tmp_path).values()}
    written = {path: (tmp_path / path).read_text() for path in files}
    page = files["page.md"].replace("arks/metrics:0.1.0", "arks/metrics:0.2.0").replace("--tag 0.1.0", "--tag 0.2.0")
    assert page == written["page.md"]
    assert 'dependencies = ["other==0.1.0"]' in written["pyproject.toml"]
    assert "kubeVersion: 1.30.0" in written["charts/arks/Chart.yaml"]
    assert files["CHANGELOG.md"] == written["CHANGELOG.md"]
