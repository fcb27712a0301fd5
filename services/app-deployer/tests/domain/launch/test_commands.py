"""Launch lines against golden files; write them anew with REWRITE_GOLDEN=1 and read the difference."""

import dataclasses
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from arks.app_deployer.adapters.profiles import read_profiles
from arks.app_deployer.domain.launch import commands, disaggregated_commands
from arks.app_deployer.domain.launch.arguments import as_arguments, quoted
from arks.app_deployer.domain.launch.containers import model_path
from arks.app_deployer.domain.launch.local_commands import LLAMACPP, EngineParameters, engine_command
from arks.app_deployer.domain.launch.profile_set import Images, NoLaunch
from arks.contracts.resources import ArksApplication, ArksApplicationSpec, ArksDisaggregatedApplication, Runtime
from arks.kit.testing.golden import assert_golden, cases

PROFILES = read_profiles()
GOLDEN = Path(__file__).parent / "golden"
COMMANDS, DISAGGREGATED = GOLDEN / "commands", GOLDEN / "disaggregated_commands"


def _as_text(containers: Any) -> str:
    return yaml.safe_dump(_lists(dataclasses.asdict(containers)), width=1000)


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lists(item) for name, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, tuple | list) else value


@pytest.mark.parametrize("case", cases(COMMANDS, ".in.yaml"))
def test_containers_of_an_application_are_as_written_down(case: str) -> None:
    app = ArksApplication.from_dict(yaml.safe_load((COMMANDS / f"{case}.in.yaml").read_text()))
    where = model_path(app.namespace, app.spec.model.name, None)
    assert_golden(
        COMMANDS / f"{case}.out.yaml", _as_text(commands.group(app.spec, where, commands.launch_of(app.spec, PROFILES)))
    )


@pytest.mark.parametrize("case", cases(DISAGGREGATED, ".in.yaml"))
def test_containers_of_a_disaggregated_application_are_as_written_down(case: str) -> None:
    app = ArksDisaggregatedApplication.from_dict(yaml.safe_load((DISAGGREGATED / f"{case}.in.yaml").read_text()))
    where = model_path(app.namespace, app.spec.model.name, "shared/qwen")
    assert_golden(DISAGGREGATED / f"{case}.out.yaml", _as_text(disaggregated_commands.group(app, where, PROFILES)))


def _spec(**fields: Any) -> ArksApplicationSpec:
    return ArksApplicationSpec.model_validate({"model": {"name": "qwen-7b"}, "instanceSpec": {}} | fields)


def test_a_runtime_without_a_launch_line_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(NoLaunch, match="runtime llamacpp is not supported; use one of vllm, sglang, dynamo"):
        PROFILES.launch(Runtime.LLAMACPP, None, disaggregated=True)


def test_the_images_of_ark_are_settings() -> None:
    profiles = read_profiles(images=Images(ark="engine:1", disaggregated_ark="engine:1", ark_router="proxy:1"))
    assert "engine:1" == commands.launch_of(_spec(runtime="ark"), profiles).image
    containers = disaggregated_commands.group(_disaggregated(runtime="ark"), "/models/m", profiles)
    assert ("proxy:1", "engine:1") == (containers.router.image, containers.prefill.leader.image)


def _disaggregated(**fields: Any) -> ArksDisaggregatedApplication:
    spec = {"model": {"name": "m"}, "router": {}, "prefill": {}, "decode": {}} | fields
    manifest = {"kind": "ArksDisaggregatedApplication", "metadata": {"name": "a"}, "spec": spec}
    return ArksDisaggregatedApplication.from_dict({"apiVersion": "arks.ai/v1"} | manifest)


@pytest.mark.parametrize(
    ("images", "router", "engine"),
    [
        (Images(), "lmsysorg/sglang:v0.5.1.post1-cu126", "lmsysorg/sglang:v0.5.1.post1-cu126"),
        (Images(disaggregated_sglang="engine:1"), "engine:1", "engine:1"),
        (Images(disaggregated_sglang="engine:1", sglang_router="router:1"), "router:1", "engine:1"),
    ],
)
def test_the_router_s_image_falls_back_to_the_engine_s(images: Images, router: str, engine: str) -> None:
    containers = disaggregated_commands.group(_disaggregated(), "/models/m", read_profiles(images=images))
    assert (router, engine) == (containers.router.image, containers.decode.leader.image)


def test_several_nodes_a_replica_need_a_command_for_workers() -> None:
    with pytest.raises(NoLaunch, match="decode: a replica of runtime ark has one node, so size must be 1"):
        disaggregated_commands.group(_disaggregated(runtime="ark", decode={"size": 2}), "/models/m", PROFILES)


def test_a_model_lies_under_its_namespace_and_name_unless_it_has_a_sub_path() -> None:
    assert "/models/models/team-a/qwen" == model_path("team-a", "qwen", None)
    assert "/models/shared/qwen" == model_path("team-a", "qwen", "shared/qwen")


@pytest.mark.parametrize(
    ("given_arguments", "words"),
    [
        (["--tp", "2"], ["--tp", "2"]),
        (["--max-model-len 4096"], ["--max-model-len", "4096"]),
        (["--override '{\"a\": 1}'"], ["--override", '{"a": 1}']),
        (["'{\"a\": 1}'"], ['{"a": 1}']),
        (['{"a": 1}'], ['{"a": 1}']),
        (["--note it's"], ["--note it's"]),
        ([""], [""]),
    ],
)
def test_one_element_is_one_word_unless_it_was_written_for_a_shell(
    given_arguments: list[str], words: list[str]
) -> None:
    assert words == as_arguments(given_arguments)


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20), max_size=6))
def test_no_argument_reaches_the_shell_as_anything_but_words(arguments: list[str]) -> None:
    words = as_arguments(arguments)
    assert words == shlex.split(quoted(words))


def test_a_shell_runs_no_part_of_an_argument(tmp_path: Path) -> None:
    mark = tmp_path / "owned"
    nasty = [f"; touch {mark}", f"$(touch {mark})", f"`touch {mark}`", f"--x $(touch {mark})", f"\n touch {mark}"]
    line = f"printf '%s.' {quoted(as_arguments(nasty))}"
    subprocess.run(["/bin/bash", "-c", line], check=True, capture_output=True)
    assert not mark.exists()


ENGINE = EngineParameters(model_path="/m/file.gguf", port=9000, threads=3, slots=4)


def test_llamacpp_on_one_machine_always_listens_on_loopback() -> None:
    line = engine_command(
        _spec(runtime="llamacpp", runtimeCommonArgs=["--host", "192.0.2.1", "-np", "8"]), ENGINE, PROFILES
    )
    assert [*LLAMACPP, "--parallel", "4", "--threads", "3", "--host", "192.0.2.1", "-np", "8"] == line[:11]
    assert "--host 127.0.0.1 --port 9000 --model /m/file.gguf --alias qwen-7b" == " ".join(line[11:])


def test_gpu_engines_on_one_machine_get_their_parallelism_and_name() -> None:
    vllm = engine_command(_spec(runtime="vllm", tensorParallelSize=2, servedModelName="q"), ENGINE, PROFILES)
    assert (
        "vllm serve /m/file.gguf --tensor-parallel-size 2 --host 127.0.0.1 --port 9000 --served-model-name q"
        == " ".join(vllm)
    )
    sglang = engine_command(_spec(runtime="sglang", tensorParallelSize=2), ENGINE, PROFILES)
    assert (
        "sglang serve --tp 2 --enable-metrics --host 127.0.0.1 --port 9000 --model-path /m/file.gguf"
        " --served-model-name qwen-7b" == " ".join(sglang)
    )


def test_no_launch_line_on_one_machine_is_an_error() -> None:
    with pytest.raises(ValueError, match="dynamo"):
        engine_command(_spec(runtime="dynamo"), ENGINE, PROFILES)
