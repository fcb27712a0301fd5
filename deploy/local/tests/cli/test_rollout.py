import pytest

from arks.local.cli.failure import Failure
from arks.local.cli.rollout import _endpoints


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], []),
        (["chat", "code"], ["chat", "code"]),
        (["endpoint/chat"], ["chat"]),
        (["endpoint", "chat"], ["chat"]),
        (["app"], ["app"]),
    ],
)
def test_endpoints_are_named_as_kubectl_names_them_too(arguments: list[str], names: list[str]) -> None:
    assert names == _endpoints(arguments)


@pytest.mark.parametrize("arguments", [["app", "qwen"], ["app/qwen"]])
def test_another_kind_has_no_rollout_here(arguments: list[str]) -> None:
    with pytest.raises(Failure, match="not of applications") as raised:
        _endpoints(arguments)
    assert f"`arks wait {' '.join(arguments)}`" in raised.value.next_step
