"""Hooks of mkdocs: they add the pages outside of docs/ that the navigation lists, and change links."""

import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # mkdocs loads this file by its path

from tools.site.links import site_links  # noqa: E402

MERMAID = "assets/mermaid.min.js"
"""In the site."""


def paths_of(nav: Any) -> set[str]:
    """The files in a navigation of mkdocs, as the site has them."""
    if isinstance(nav, str):
        return {nav}
    items = nav.values() if isinstance(nav, dict) else nav
    return {path for item in items for path in paths_of(item)}


def checkout_path(page: str) -> str:
    """Where the checkout has a page of the site."""
    return f"docs/{page}" if (ROOT / "docs" / page).is_file() else page


def mermaid_script() -> Path | None:
    """The script that `make site` has fetched; None where it could not."""
    given = os.environ.get("ARKS_SITE_MERMAID")
    script = ROOT / given if given else None
    return script if script is not None and script.is_file() else None


def on_config(config: Any) -> Any:
    """The theme fetches mermaid from another server unless a page has loaded it before."""
    if mermaid_script() is not None:
        config["extra_javascript"].append(MERMAID)
    return config


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File  # noqa: PLC0415  # only where the site is built

    if (script := mermaid_script()) is not None:
        files.append(File.generated(config, MERMAID, abs_src_path=str(script)))
    for page in sorted(paths_of(config["nav"])):
        if files.get_file_from_path(page) is None:
            files.append(File.generated(config, page, abs_src_path=str(ROOT / page)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    pages = {checkout_path(name) for name in paths_of(config["nav"])}
    return site_links(markdown, checkout_path(page.file.src_uri), pages.__contains__)
