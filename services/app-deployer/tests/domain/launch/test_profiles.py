"""Which profile starts an engine, and which mistakes in one are refused."""

from typing import Any

import pytest

from arks.app_deployer.adapters.profiles import read_profiles
from arks.app_deployer.domain.launch.profile_set import Images, NoLaunch, Profiles
from arks.app_deployer.domain.launch.profiles import BadProfiles, parse
from arks.contracts.resources import Runtime

VLLM = Runtime.VLLM
COMMANDS = {"leader": {"exec": "serve {model}"}}


def profile(**fields: Any) -> dict[str, Any]:
    return {"name": "mine", "runtime": "vllm", "commands": COMMANDS} | fields


def test_what_engines_drop_must_be_known_to_the_gateway() -> None:
    machine = read_profiles().machine(Runtime.LLAMACPP)
    assert machine is not None
    assert "tool_choice.name" in machine.unsupported
    with pytest.raises(BadProfiles, match="unknown: tool_choices; there are audio"):
        parse([("file", [profile(unsupported=["tool_choices"])])])


def test_ark_drops_what_llamacpp_drops() -> None:
    llamacpp, ark = (read_profiles().machine(runtime) for runtime in (Runtime.LLAMACPP, Runtime.ARK))
    assert llamacpp is not None
    assert ark is not None
    assert set(llamacpp.unsupported) == {"json.hang_up", *ark.unsupported}  # openai-proxy sees clients leave


@pytest.mark.parametrize(
    ("runtime", "use", "is_dropped"),
    [
        (Runtime.LLAMACPP, "store", True),
        (Runtime.LLAMACPP, "completions.logprobs", True),
        (Runtime.LLAMACPP, "completions.response_format", True),
        (Runtime.LLAMACPP, "schema.pattern", True),
        (Runtime.VLLM, "store", True),
        (Runtime.VLLM, "service_tier", True),
        (Runtime.VLLM, "functions", True),
        (Runtime.VLLM, "tool_choice.name", False),
        (Runtime.VLLM, "completions.response_format", False),
        (Runtime.SGLANG, "audio", True),
        (Runtime.SGLANG, "web_search", True),
        (Runtime.SGLANG, "completions.logprobs", False),
    ],
)
def test_each_runtime_names_what_its_engines_drop(runtime: Runtime, use: str, is_dropped: bool) -> None:
    launch = read_profiles().machine(runtime)
    assert launch is not None
    assert is_dropped == (use in launch.unsupported)


@pytest.mark.parametrize(
    ("image", "version", "expected"),
    [
        (None, None, "vllm-ray"),
        ("vllm/vllm-openai:v0.18.1", None, "vllm-ray"),
        ("vllm/vllm-openai:v0.19.0", None, "vllm"),
        ("vllm/vllm-openai:latest", None, "vllm"),
        ("registry.example.com/own:17", None, "vllm-ray"),
        ("registry.example.com/own:17", "0.20", "vllm"),
    ],
)
def test_a_version_has_its_profile_and_an_unknown_one_that_of_the_default_image(
    image: str | None, version: str | None, expected: str
) -> None:
    assert expected == read_profiles().launch(VLLM, image, version).profile.name


def test_an_image_of_the_settings_replaces_the_profile_s() -> None:
    launch = read_profiles(images=Images(vllm="mirror/vllm:v0.19.2")).launch(VLLM, None)
    assert ("mirror/vllm:v0.19.2", "vllm") == (launch.image, launch.profile.name)


def test_profiles_of_an_operator_come_before_the_built_in_ones(tmp_path: Any) -> None:
    path = tmp_path / "profiles.yaml"
    path.write_text("- {name: mine, runtime: vllm, versions: '>=0.30', commands: {leader: {exec: 'own {model}'}}}")
    profiles = read_profiles(path)
    assert "mine" == profiles.launch(VLLM, "x:v0.30.0").profile.name
    assert "vllm" == profiles.launch(VLLM, "x:v0.29.0").profile.name
    assert "vllm/vllm-openai:v0.8.2" == profiles.launch(VLLM, None).image


def test_an_image_of_an_operator_s_profile_counts_before_that_of_the_settings(tmp_path: Any) -> None:
    path = tmp_path / "profiles.yaml"
    path.write_text("- {name: mine, runtime: vllm, image: 'own:v1.0', commands: {leader: {exec: 'own {model}'}}}")
    assert "own:v1.0" == read_profiles(path, Images(vllm="mirror/vllm:v0.9")).launch(VLLM, None).image


def test_a_version_without_a_profile_is_refused() -> None:
    only = Profiles(parse([("f", [profile(versions="<1", image="x:v0.5")])]))
    with pytest.raises(NoLaunch, match=r"no profile of runtime vllm is for version 2\.0 of x:v2\.0"):
        only.launch(VLLM, "x:v2.0")


def test_launches_that_never_ran_on_a_gpu_have_a_note_and_no_other() -> None:
    """The older implementation ran the launch lines of vllm-ray, sglang, sglang-disaggregated and dynamo-run; llama.cpp
    and ark run on a CPU in the journeys."""
    noted = {profile.name for profile in read_profiles().all() if profile.note}
    assert {"vllm", "vllm-disaggregated", "dynamo-etcd", "dynamo", "dynamo-disaggregated"} == noted


def test_an_engine_has_the_metrics_of_its_profile() -> None:
    own, other = parse([("f", [profile(), profile(metrics="sglang")])])
    assert (Runtime.VLLM, Runtime.SGLANG) == (own.dialect, other.dialect)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, "f: give a list of profiles"),
        ([3], "f: profile not a mapping"),
        ([profile(runtime="trtllm")], "f: profile mine: runtime"),
        ([profile(versions="newest")], "f: profile mine: versions"),
        ([profile(comands={})], "f: profile mine: comands"),
        ([profile(commands={"leader": {}})], "commands.leader: Value error, give either exec or shell"),
        (
            [profile(commands={"leader": {"exec": "x {modell}"}})],
            "the command of leader has names without a value: modell",
        ),
        (
            [profile(commands={"router": {"exec": "x {stage}"}})],
            "the command of router has names without a value: stage",
        ),
    ],
)
def test_a_mistake_in_a_file_is_named(content: Any, message: str) -> None:
    with pytest.raises(BadProfiles) as raised:
        parse([("f", content)])
    assert message in str(raised.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Any) -> None:
    path = tmp_path / "profiles.yaml"
    with pytest.raises(BadProfiles, match=r"profiles\.yaml"):
        read_profiles(path)
    path.write_text("a: [")
    with pytest.raises(BadProfiles, match=r"profiles\.yaml"):
        read_profiles(path)
