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
    written = {*ROOT.glob("docs/**/*.md"), *ROOT.glob("services/*/README.md"), *ROOT.glob("charts/*/README.md")}
    assert {str(page.relative_to(ROOT)) for page in written} <= PAGES
    assert [] == [page for page in PAGES if not (ROOT / page).is_file()]


def test_the_first_page_links_to_every_page_of_docs() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)", (ROOT / "docs/README.md").read_text()))
    assert {page.name for page in ROOT.glob("docs/*.md")} - {"README.md"} == linked


def test_measured_figures_of_the_first_page_are_those_of_routing() -> None:
    first, measured = (ROOT / "docs/README.md").read_text(), (ROOT / "docs/architecture/routing.md").read_text()
    times = re.search(r"is (\d+), \d+ and \d+ ms at (71, 91 and 96 %) load, without an error", measured)
    others = re.search(r"needs (\d+) to (\d+) s and loses (\d+ to \d+ requests)", measured)
    assert times is not None and others is not None
    least, most, lost = others.groups()
    for figure in (f"{times[1]} ms", times[2], f"{least},000 ms", f"{most},000 ms", lost):
        assert figure in first, figure
