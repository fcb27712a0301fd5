"""Reads runtime profiles: those of an operator's file, then the built-in ones."""

from importlib.resources import files
from pathlib import Path

import yaml

from arks.app_deployer.domain.launch.profile_set import Images, Profiles
from arks.app_deployer.domain.launch.profiles import BadProfiles, Profile, parse

_BUILT_IN = ("vllm.yaml", "sglang.yaml", "dynamo.yaml", "llamacpp.yaml", "ark.yaml")


def read_profiles(path: Path | None = None, images: Images | None = None) -> Profiles:
    """All profiles. `path`: the operator's file; None: there is none. Raises BadProfiles."""
    images = images or Images()
    built_in = [images.applied(profile) for profile in _built_in()]
    return Profiles([*_of_operator(path), *built_in])


def _of_operator(path: Path | None) -> list[Profile]:
    if path is None:
        return []
    try:
        return parse([(str(path), yaml.safe_load(path.read_text()))])
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadProfiles(f"{path}: {error}") from error


def _built_in() -> list[Profile]:
    directory = files("arks.app_deployer.adapters") / "runtime_profiles"
    return parse([(name, yaml.safe_load((directory / name).read_text())) for name in _BUILT_IN])
