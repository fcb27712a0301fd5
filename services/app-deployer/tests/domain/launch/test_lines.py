"""Templates of command lines."""

import shlex

from hypothesis import given
from hypothesis import strategies as st

from arks.app_deployer.domain.launch.lines import exec_words, names, shell_line


def test_a_name_is_one_word_and_a_list_alone_is_its_words() -> None:
    values = {"model": "/m a", "arguments": ["--a", "1 2"], "none": []}
    assert ["serve", "--model=/m a", "--a", "1 2", "end"] == exec_words(
        "serve --model={model} {arguments} {none} end", values
    )


def test_a_template_names_what_it_needs_and_kubernetes_own_names_stay() -> None:
    assert {"model", "arguments"} == names("x {model} --rank=$(LWS_WORKER_INDEX) {arguments}")
    assert "x --rank=$(RANK); y" == shell_line("x --rank=$(RANK); y", {})


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.lists(st.text(alphabet="a $;'\"`&\\n")))
def test_values_reach_a_shell_as_words(model: str, arguments: list[str]) -> None:
    line = shell_line("serve {model} {arguments}", {"model": model, "arguments": arguments})
    assert ["serve", model, *arguments] == shlex.split(line)
