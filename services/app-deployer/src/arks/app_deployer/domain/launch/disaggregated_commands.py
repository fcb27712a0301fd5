"""Launch commands of an ArksDisaggregatedApplication on Kubernetes: router, prefill and decode."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from arks.app_deployer.domain.launch import containers
from arks.app_deployer.domain.launch.arguments import as_arguments
from arks.app_deployer.domain.launch.commands import environment, with_profile_env
from arks.app_deployer.domain.launch.containers import Container, Group
from arks.app_deployer.domain.launch.profile_set import Launch, NoLaunch, Profiles
from arks.app_deployer.domain.launch.profiles import Line, Profile
from arks.contracts.names import service_name
from arks.contracts.resources import (
    ArksDisaggregatedApplication,
    ArksDisaggregatedApplicationSpec,
    DisaggregatedWorkload,
    Runtime,
)


class Stage(StrEnum):
    PREFILL = "prefill"
    DECODE = "decode"

    @property
    def kv_role(self) -> str:
        """Of vLLM's KV connectors."""
        return "kv_producer" if self is Stage.PREFILL else "kv_consumer"


@dataclass(frozen=True, slots=True)
class DisaggregatedGroup:
    router: Container
    prefill: Group
    decode: Group


def launch_of(spec: ArksDisaggregatedApplicationSpec, profiles: Profiles) -> Launch:
    """Raises NoLaunch."""
    runtime = Runtime(spec.runtime or Runtime.SGLANG)
    return profiles.launch(runtime, spec.runtime_image, spec.runtime_version, disaggregated=True)


def group(application: ArksDisaggregatedApplication, model_path: str, profiles: Profiles) -> DisaggregatedGroup:
    """Raises NoLaunch."""
    spec = application.spec
    launch = launch_of(spec, profiles)
    return DisaggregatedGroup(
        router=_router(application, model_path, launch, profiles),
        prefill=_stage(application, spec.prefill, Stage.PREFILL, model_path, launch),
        decode=_stage(application, spec.decode, Stage.DECODE, model_path, launch),
    )


def leader_labels(application: str, model: str, stage: Stage) -> dict[str, str]:
    """Labels by which the router finds the leaders of a stage; sorted, so that the line never changes by itself."""
    return {
        "arks.ai/application": application,
        "arks.ai/disaggregation-role": stage.value,
        "arks.ai/model": containers.label_value(model),
        "arks.ai/work-load-role": "leader",
    }


def stage_host(application: str, stage: Stage) -> str:
    """Name of the Service of a stage's ready leaders, in the application's namespace."""
    return service_name(f"{application}-{stage}")


def _router(
    application: ArksDisaggregatedApplication, model_path: str, launch: Launch, profiles: Profiles
) -> Container:
    spec, router, profile = application.spec, application.spec.router, launch.profile
    values = _shared_values(application, model_path) | {
        "arguments": as_arguments(router.router_args),
        "enginePort": str(profile.port),
        "port": str(router.serving_port),
        "metricsPort": str(router.serving_metric_port),
        "namespace": application.namespace,
    }
    values |= {f"{stage}Selector": _selector(application, stage) for stage in Stage}
    command = profile.command(_line(profile, "router", profile.commands.router), values)
    image = spec.router_image or profiles.router_image(launch, given=spec.runtime_image)
    env = with_profile_env(router.instance_spec, profile.router.env)
    return _overridden(Container(image, command, env), router.command_override, "ARKS_ROUTER_COMMAND")


def _shared_values(application: ArksDisaggregatedApplication, model_path: str) -> dict[str, str | list[str]]:
    hosts: dict[str, str | list[str]] = {f"{stage}Host": stage_host(application.name, stage) for stage in Stage}
    return hosts | {"model": model_path, "served": application.spec.served_name}


def _selector(application: ArksDisaggregatedApplication, stage: Stage) -> list[str]:
    labels = leader_labels(application.name, application.spec.model.name, stage)
    return [f"{name}={value}" for name, value in labels.items()]


def _stage(
    application: ArksDisaggregatedApplication,
    workload: DisaggregatedWorkload,
    stage: Stage,
    model_path: str,
    launch: Launch,
) -> Group:
    profile = launch.profile
    values = _shared_values(application, model_path) | {
        "arguments": as_arguments(workload.runtime_common_args),
        "stage": stage.value,
        "kvRole": stage.kv_role,
        "port": str(profile.port),
    }
    env = environment(workload.instance_spec, profile)

    def container(line: Line) -> Container:
        return Container(launch.image, profile.command(line, values), env)

    if workload.size > 1 and profile.commands.worker is None:
        raise NoLaunch(f"{stage}: a replica of runtime {profile.runtime} has one node, so size must be 1")
    leader = container(_line(profile, stage, profile.commands.leader_of(stage, workload.size)))
    worker = container(profile.commands.worker) if profile.commands.worker is not None else None
    return Group(
        _overridden(leader, workload.leader_command_override, "ARKS_LEADER_COMMAND"),
        _overridden(worker, workload.worker_command_override, "ARKS_WORKER_COMMAND") if worker is not None else None,
    )


def _line(profile: Profile, role: str, line: Line | None) -> Line:
    if line is None:
        raise NoLaunch(f"profile {profile.name} has no command {role}")
    return line


def _overridden(container: Container, override: list[str], variable: str) -> Container:
    """The user's command; the replaced one is in the environment variable `variable`."""
    if not override:
        return container
    ours: dict[str, Any] = {"name": variable, "value": container.command[-1]}
    return replace(container, command=tuple(override), env=(*container.env, ours))
