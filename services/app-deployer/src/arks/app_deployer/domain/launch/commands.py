"""Launch commands of an ArksApplication on Kubernetes, from the profile of its runtime."""

from collections.abc import Sequence
from typing import Any

from arks.app_deployer.domain.launch import containers, llamacpp_options, loading
from arks.app_deployer.domain.launch.arguments import as_arguments
from arks.app_deployer.domain.launch.containers import Container, Group
from arks.app_deployer.domain.launch.profile_set import Launch, NoLaunch, Profiles
from arks.app_deployer.domain.launch.profiles import Line, Profile
from arks.contracts.resources import ArksApplicationSpec, ArksInstanceSpec, Runtime


def launch_of(spec: ArksApplicationSpec, profiles: Profiles) -> Launch:
    """Raises NoLaunch."""
    return profiles.launch(spec.effective_runtime, spec.runtime_image, spec.runtime_version)


def group(spec: ArksApplicationSpec, model_path: str, launch: Launch) -> Group:
    """The containers of one replica. Raises NoLaunch."""
    profile, commands = launch.profile, launch.profile.commands
    values = values_of(spec, model_path, profile, launch.version) | {"port": str(profile.port)}

    def container(line: Line) -> Container:
        return Container(launch.image, profile.command(line, values), environment(spec.instance_spec, profile))

    if spec.group_size == 1 and commands.one_node is not None:
        return Group(container(commands.one_node))
    if commands.leader is None:
        raise NoLaunch(f"profile {profile.name} has no command for {'one node' if spec.group_size == 1 else 'leaders'}")
    return Group(container(commands.leader), container(commands.worker) if commands.worker is not None else None)


def values_of(
    spec: ArksApplicationSpec, model_path: str, profile: Profile, version: str | None
) -> dict[str, str | Sequence[str]]:
    """What any line may contain. `version`: of the engine; None: unknown. Raises NoLaunch."""
    arguments = as_arguments(spec.runtime_args)
    return {
        "model": model_path,
        "served": spec.served_name,
        "arguments": arguments,
        "loading": loading.words(spec, profile, version, arguments),
        "tensorParallelSize": str(spec.tensor_parallel_size or ""),
    }


def environment(spec: ArksInstanceSpec | None, profile: Profile) -> tuple[dict[str, Any], ...]:
    return with_profile_env(spec, profile.env)


def with_profile_env(spec: ArksInstanceSpec | None, env: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The user's variables, then those of the profile that the user does not set."""
    given = containers.user_env(spec)
    names = {variable["name"] for variable in given}
    return (*given, *(variable for variable in env if variable["name"] not in names))


def slots_of(spec: ArksApplicationSpec) -> int:
    """Requests that a replica works on at once; 0 when unknown."""
    if spec.effective_runtime is not Runtime.LLAMACPP:
        return 0
    needed = ["--model", "model", "--port", "0"]
    try:
        options, _ = llamacpp_options.parser(add_help=False).parse_known_args(
            [*needed, *as_arguments(spec.runtime_args)]
        )
    except llamacpp_options.BadOptions:
        return 0
    return int(options.parallel)
