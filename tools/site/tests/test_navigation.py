"""The site has every page of docs/ and every README of a service, and the table of docs/README.md too."""

import re
from pathlib import Path

import yaml

from tools.site.hooks import checkout_path, paths_of

ROOT = Path(__file__).parents[3]


class Loader(yaml.SafeLoader):
    """Of mkdocs.yml, which names a function."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda loader, suffix, node: suffix)
PAGES = {checkout_path(page) for page in paths_of(yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)["nav"])}  # noqa: S506


def test_every_page_is_in_the_navigation_and_exists() -> None:
    written = {*ROOT.glob("docs/*.md"), *ROOT.glob("services/*/README.md"), *ROOT.glob("charts/*/README.md")}
    assert {str(page.relative_to(ROOT)) for page in written} <= PAGES
    assert [] == [page for page in PAGES if not (ROOT / page).is_file()]


def test_the_first_page_links_to_every_page_of_docs() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)", (ROOT / "docs/README.md").read_text()))
    assert {page.name for page in ROOT.glob("docs/*.md")} - {"README.md"} == linked


def test_measured_figures_of_the_first_page_are_those_of_the_architecture() -> None:
    first, measured = (ROOT / "docs/README.md").read_text(), (ROOT / "docs/architecture.md").read_text()
    assert "82, 81 and 82 ms at 71, 91 and 96 % load" in measured
    assert "14 to 17 s and loses 39 to 137 requests" in measured
    for figure in ("82 ms", "14,000 ms", "17,000 ms", "71, 91 and 96 %", "39 to 137 requests"):
        assert figure in first
