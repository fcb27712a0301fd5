from pathlib import Path

import pytest

from tools.site.hooks import MERMAID, on_config, paths_of
from tools.site.links import site_links

SITE = {"docs/serve.md", "docs/README.md", "services/metrics/README.md", "CHANGELOG.md"}


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("docs/README.md", "see [serve](serve.md#a-local-file).", "see [serve](serve.md#a-local-file)."),
        ("docs/serve.md", "[m](../services/metrics/README.md)", "[m](services/metrics/README.md)"),
        ("services/metrics/README.md", "[s](../../docs/serve.md#x)", "[s](../../serve.md#x)"),
        ("CHANGELOG.md", "[s](docs/serve.md)", "[s](serve.md)"),
        ("docs/serve.md", "[protos](../protos/arks) and [here](#top)", "protos and [here](#top)"),
        ("docs/serve.md", "[web](https://example.com/a)", "[web](https://example.com/a)"),
    ],
)
def test_a_link_works_in_the_site_or_becomes_its_text(path: str, text: str, expected: str) -> None:
    assert expected == site_links(text, path, SITE.__contains__)


def test_the_navigation_lists_pages_at_every_depth() -> None:
    assert {"a.md", "b.md", "c.md"} == paths_of([{"A": "a.md"}, {"More": [{"B": "b.md"}, "c.md"]}])


def test_pages_load_the_fetched_script_of_diagrams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "mermaid.js"
    monkeypatch.setenv("ARKS_SITE_MERMAID", str(script))
    assert [] == on_config({"extra_javascript": []})["extra_javascript"]
    script.write_text("")
    assert [MERMAID] == on_config({"extra_javascript": []})["extra_javascript"]
