import pytest

from arks.app_deployer.domain.launch.arguments import as_arguments

JSON = '{"temperature": 0.2, "stop": ["it\'s"]}'


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        (f"--override-generation-config={JSON}", [f"--override-generation-config={JSON}"]),
        (f"--override-generation-config {JSON}", ["--override-generation-config", JSON]),
        (f"--override-generation-config '{JSON[:20]} 1}}'", ["--override-generation-config", f"{JSON[:20]} 1}}"]),
        ("--a=1 --b 2", ["--a=1", "--b", "2"]),
        ("--names [a b]", ["--names", "[a", "b]"]),
        (JSON, [JSON]),
    ],
)
def test_json_in_an_argument_stays_whole(argument: str, words: list[str]) -> None:
    assert words == as_arguments([argument])
