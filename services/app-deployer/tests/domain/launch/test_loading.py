"""Which options `spec.loading` becomes; the golden files of commands show the lines."""

from typing import Any

import pytest

from arks.app_deployer.adapters.profiles import read_profiles
from arks.app_deployer.domain.launch import commands
from arks.app_deployer.domain.launch.profile_set import NoLaunch
from arks.app_deployer.domain.launch.profiles import BadProfiles, parse
from arks.contracts.resources import ArksApplicationSpec

PROFILES = read_profiles()


def launch(loading: str, **fields: Any) -> str:
    spec = ArksApplicationSpec.model_validate({"model": {"name": "m"}, "instanceSpec": {}, "loading": loading} | fields)
    return " ".join(commands.group(spec, "/m", commands.launch_of(spec, PROFILES)).leader.command)


@pytest.mark.parametrize(
    ("loading", "fields", "expected"),
    [
        ("fastsafetensors", {"runtime": "vllm"}, "runtime vllm has no fastsafetensors before version 0.9"),
        ("fastsafetensors", {"runtime": "sglang"}, "runtime sglang has no fastsafetensors before version 0.5.7"),
        ("streamer", {"runtime": "sglang"}, "runtime sglang has no streamer; leave loading out"),
        ("streamer", {"runtime": "llamacpp"}, "runtime llamacpp has no streamer; leave loading out"),
        ("streamer", {"runtime": "dynamo"}, "runtime dynamo has no streamer; leave loading out"),
    ],
)
def test_what_an_engine_cannot_do_is_refused(loading: str, fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(NoLaunch, match=expected):
        launch(loading, **fields)


def test_an_engine_of_unknown_version_gets_the_option() -> None:
    image = "registry.example.com/own:17"
    assert "--load-format fastsafetensors" in launch("fastsafetensors", runtime="vllm", runtimeImage=image)
    assert "--load-format fastsafetensors" in launch("fastsafetensors", runtime="sglang", runtimeImage=image)


def test_the_newest_image_has_every_option() -> None:
    image = "lmsysorg/sglang:latest"
    assert "--load-format fastsafetensors" in launch("fastsafetensors", runtime="sglang", runtimeImage=image)


def test_a_profile_with_options_needs_room_for_them_in_a_command() -> None:
    mine = {"name": "mine", "runtime": "vllm", "commands": {"leader": {"exec": "serve {model}"}}}
    with pytest.raises(BadProfiles, match="no command has"):
        parse([("file", [{**mine, "loading": {"streamer": [{"words": "--stream"}]}}])])
    with pytest.raises(BadProfiles, match="Invalid specifier"):
        parse([("file", [{**mine, "loading": {"mmap": [{"versions": "new"}]}}])])
