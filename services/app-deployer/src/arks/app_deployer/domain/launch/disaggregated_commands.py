"""Launch commands of an ArksDisaggregatedApplication on Kubernetes: SGLang's router, prefill and decode."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from arks.app_deployer.domain.launch import containers
from arks.app_deployer.domain.launch.arguments import as_arguments, quoted
from arks.app_deployer.domain.launch.commands import SGLANG, SGLANG_LISTEN, with_metrics
from arks.app_deployer.domain.launch.containers import Container, Group, Images, shell
from arks.contracts.resources import (
    ArksDisaggregatedApplication,
    ArksDisaggregatedApplicationSpec,
    DisaggregatedWorkload,
)


class Stage(StrEnum):
    PREFILL = "prefill"
    DECODE = "decode"


@dataclass(frozen=True, slots=True)
class DisaggregatedGroup:
    router: Container
    prefill: Group
    decode: Group


def group(application: ArksDisaggregatedApplication, model_path: str, images: Images) -> DisaggregatedGroup:
    spec = application.spec
    return DisaggregatedGroup(
        router=_router(application, images),
        prefill=_stage(spec, spec.prefill, Stage.PREFILL, model_path, images),
        decode=_stage(spec, spec.decode, Stage.DECODE, model_path, images),
    )


def leader_labels(application: str, model: str, stage: Stage) -> dict[str, str]:
    """Labels by which the router finds the leaders of a stage; sorted, so that the line never changes by itself."""
    return {
        "arks.ai/application": application,
        "arks.ai/disaggregation-role": stage.value,
        "arks.ai/model": containers.label_value(model),
        "arks.ai/work-load-role": "leader",
    }


def _router(application: ArksDisaggregatedApplication, images: Images) -> Container:
    spec, router = application.spec, application.spec.router
    line = ["python3", "-m", "sglang_router.launch_router", "--pd-disaggregation", "--service-discovery"]
    line += ["--service-discovery-port", str(containers.HTTP_PORT)]
    line += ["--host", "0.0.0.0", "--port", str(router.serving_port)]  # noqa: S104  # a pod's own address
    line += ["--service-discovery-namespace", application.namespace]
    for stage in Stage:
        labels = leader_labels(application.name, spec.model.name, stage)
        line += [f"--{stage}-selector", *(f"{name}={value}" for name, value in labels.items())]
    arguments = as_arguments(router.router_args)
    line += arguments
    if "-policy" not in (given := " ".join(arguments)):
        line += ["--policy", "cache_aware"]
    if "prometheus-port" not in given:
        line += ["--prometheus-host", "0.0.0.0", "--prometheus-port", str(router.serving_metric_port)]  # noqa: S104
    default = images.disaggregated_router or images.disaggregated_sglang
    container = Container(spec.router_image or default, shell(quoted(line)), containers.user_env(router.instance_spec))
    return _overridden(container, router.command_override, "ARKS_ROUTER_COMMAND")


def _stage(
    spec: ArksDisaggregatedApplicationSpec,
    workload: DisaggregatedWorkload,
    stage: Stage,
    model_path: str,
    images: Images,
) -> Group:
    image = spec.runtime_image or images.disaggregated_sglang
    env = (*containers.user_env(workload.instance_spec), containers.worker_index_env())
    ours = {
        "--model-path": model_path,
        "--served-model-name": spec.served_name,
        "--disaggregation-mode": stage.value,
    }
    arguments = as_arguments(workload.runtime_common_args)
    leader = f"{SGLANG} {SGLANG_LISTEN} {_leader_arguments(arguments, ours)}"
    worker = f"{SGLANG} {with_metrics(quoted([*_flat(ours), *arguments]))}"
    return Group(
        _overridden(Container(image, shell(leader), env), workload.leader_command_override, "ARKS_LEADER_COMMAND"),
        _overridden(Container(image, shell(worker), env), workload.worker_command_override, "ARKS_WORKER_COMMAND"),
    )


def _leader_arguments(arguments: list[str], ours: dict[str, str]) -> str:
    """The user's arguments, then each of Arks' that the user did not give."""
    given = " ".join(arguments)
    return with_metrics(quoted([*arguments, *_flat({name: ours[name] for name in ours if name not in given})]))


def _flat(options: dict[str, str]) -> list[str]:
    return [word for option in options.items() for word in option]


def _overridden(container: Container, override: list[str], variable: str) -> Container:
    """The user's command; the replaced one is in the environment variable `variable`."""
    if not override:
        return container
    ours: dict[str, Any] = {"name": variable, "value": container.command[-1]}
    return replace(container, command=tuple(override), env=(*container.env, ours))
