"""Launch commands of an ArksDisaggregatedApplication on Kubernetes: router, prefill and decode."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from arks.app_deployer.domain.launch import containers
from arks.app_deployer.domain.launch.arguments import as_arguments
from arks.app_deployer.domain.launch.commands import environment
from arks.app_deployer.domain.launch.containers import Container, Group
from arks.app_deployer.domain.launch.profile_set import Launch, NoLaunch, Profiles
from arks.app_deployer.domain.launch.profiles import Line
from arks.contracts.resources import (
    ArksDisaggregatedApplication,
    ArksDisaggregatedApplicationSpec,
    DisaggregatedWorkload,
    Runtime,
)


class Stage(StrEnum):
    PREFILL = "prefill"
    DECODE = "decode"


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
        router=_router(application, profiles),
        prefill=_stage(spec, spec.prefill, Stage.PREFILL, model_path, launch),
        decode=_stage(spec, spec.decode, Stage.DECODE, model_path, launch),
    )


def leader_labels(application: str, model: str, stage: Stage) -> dict[str, str]:
    """Labels by which the router finds the leaders of a stage; sorted, so that the line never changes by itself."""
    return {
        "arks.ai/application": application,
        "arks.ai/disaggregation-role": stage.value,
        "arks.ai/model": containers.label_value(model),
        "arks.ai/work-load-role": "leader",
    }


def _router(application: ArksDisaggregatedApplication, profiles: Profiles) -> Container:
    spec, router = application.spec, application.spec.router
    launch = profiles.launch(Runtime(spec.runtime or Runtime.SGLANG), None, disaggregated=True)
    values = {
        "arguments": as_arguments(router.router_args),
        "enginePort": str(launch.profile.port),
        "port": str(router.serving_port),
        "metricsPort": str(router.serving_metric_port),
        "namespace": application.namespace,
    } | {f"{stage}Selector": _selector(application, stage) for stage in Stage}
    command = launch.profile.command(_line(launch, "router"), values)
    image = spec.router_image or profiles.router_image(launch.image)
    container = Container(image, command, containers.user_env(router.instance_spec))
    return _overridden(container, router.command_override, "ARKS_ROUTER_COMMAND")


def _selector(application: ArksDisaggregatedApplication, stage: Stage) -> list[str]:
    labels = leader_labels(application.name, application.spec.model.name, stage)
    return [f"{name}={value}" for name, value in labels.items()]


def _stage(
    spec: ArksDisaggregatedApplicationSpec,
    workload: DisaggregatedWorkload,
    stage: Stage,
    model_path: str,
    launch: Launch,
) -> Group:
    values = {
        "arguments": as_arguments(workload.runtime_common_args),
        "model": model_path,
        "served": spec.served_name,
        "stage": stage.value,
        "port": str(launch.profile.port),
    }
    env = environment(workload.instance_spec, launch.profile)
    leader, worker = (
        Container(launch.image, launch.profile.command(_line(launch, role), values), env)
        for role in ("leader", "worker")
    )
    return Group(
        _overridden(leader, workload.leader_command_override, "ARKS_LEADER_COMMAND"),
        _overridden(worker, workload.worker_command_override, "ARKS_WORKER_COMMAND"),
    )


def _line(launch: Launch, role: str) -> Line:
    line: Line | None = getattr(launch.profile.commands, role)
    if line is None:
        raise NoLaunch(f"profile {launch.profile.name} has no command {role}")
    return line


def _overridden(container: Container, override: list[str], variable: str) -> Container:
    """The user's command; the replaced one is in the environment variable `variable`."""
    if not override:
        return container
    ours: dict[str, Any] = {"name": variable, "value": container.command[-1]}
    return replace(container, command=tuple(override), env=(*container.env, ours))
