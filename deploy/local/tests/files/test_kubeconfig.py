"""Contexts of kubeconfigs."""

from pathlib import Path

import pytest

from arks.local.files.kubeconfig import KubeconfigUnreadable, read_contexts

FIRST = "current-context: a\ncontexts: [{name: a, context: {cluster: x, namespace: team-a}}, {name: b, context: {}}]\n"
SECOND = "current-context: c\ncontexts: [{name: c}, {name: a, context: {namespace: other}}]\n"


def test_the_first_file_that_has_a_value_wins(tmp_path: Path) -> None:
    (tmp_path / "1").write_text(FIRST)
    (tmp_path / "2").write_text(SECOND)
    named = f"{tmp_path}/none:{tmp_path}/1:{tmp_path}/2"
    assert ({"a": "team-a", "b": "default", "c": "default"}, "a") == read_contexts(named)


@pytest.mark.parametrize(("text", "message"), [(None, "there is no"), ("a: [", "cannot read"), ("- 1", "read")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "config"
    if text is not None:
        file.write_text(text)
    with pytest.raises(KubeconfigUnreadable, match=f"{message}.*config"):
        read_contexts(str(file))
