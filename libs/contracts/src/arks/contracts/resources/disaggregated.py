"""ArksDisaggregatedApplication: prefill and decode on separate engines behind a router."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from arks.contracts.resources.application import (
    APPLICATION_NAME_RULE,
    ApplicationPhase,
    ArksApplicationStatus,
    ModelRef,
    PullPolicy,
    RuntimeArgument,
    RuntimeVersion,
    ServedModelName,
)
from arks.contracts.resources.instance import ArksInstanceSpec, ImagePullSecret, PodGroupPolicy
from arks.contracts.resources.meta import AGE, KIND, READY_WIDE, REASON, WHY, CustomResource, PrinterColumn, Status
from arks.contracts.resources.rollout import RolloutStrategy
from arks.contracts.resources.schema import ApiModel, Count32, Rule, differ

DEFAULT_ROUTER_PORT = 8080
DEFAULT_METRIC_PORT = 9090

OptionalPort = Annotated[int, Field(ge=0, le=65535, json_schema_extra={"format": "int32"})]
"""A port; 0 means the default."""


class RouterSpec(ApiModel):
    """The router in front of prefill and decode."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            message="set either port or int32 (deprecated), not two different values",
            broken_at=lambda router: ("port",) if differ(router.port, router.int32) else None,
            cel="!has(self.port) || !has(self.int32) || self.port == self.int32",
        ),
    )

    replicas: Count32 = Field(default=1, description="Number of routers.")
    command_override: list[RuntimeArgument] = Field(
        default_factory=list, description="Replaces the generated command, which is in ARKS_ROUTER_COMMAND."
    )
    port: OptionalPort | None = Field(default=None, description="Serving port; 0 or absent: 8080.")
    int32: OptionalPort | None = Field(default=None, description="Old spelling of `port`.")
    metric_port: OptionalPort | None = Field(default=None, description="Metrics port; 0 or absent: 9090.")
    router_args: list[RuntimeArgument] = Field(
        default_factory=list, description="Extra command-line arguments for the router."
    )
    instance_spec: ArksInstanceSpec | None = Field(default=None, description="How the router's pods run.")

    @property
    def serving_port(self) -> int:
        """The port, from either spelling."""
        return self.port or self.int32 or DEFAULT_ROUTER_PORT

    @property
    def serving_metric_port(self) -> int:
        return self.metric_port or DEFAULT_METRIC_PORT


class DisaggregatedWorkload(ApiModel):
    """The engines of one stage: prefill or decode."""

    replicas: Count32 = Field(default=1, description="Replicas; each is a group of `size` nodes.")
    size: int = Field(default=1, ge=1, le=2**31 - 1, description="Nodes per replica.")
    leader_command_override: list[RuntimeArgument] = Field(
        default_factory=list, description="Replaces the leader's generated command, which is in ARKS_LEADER_COMMAND."
    )
    worker_command_override: list[RuntimeArgument] = Field(
        default_factory=list, description="Replaces the workers' generated command, which is in ARKS_WORKER_COMMAND."
    )
    runtime_common_args: list[RuntimeArgument] = Field(
        default_factory=list, description="Extra command-line arguments for the engine."
    )
    instance_spec: ArksInstanceSpec | None = Field(default=None, description="How the engine's pods run.")


class ArksDisaggregatedApplicationSpec(ApiModel):
    """Which model, and the engines of each stage."""

    runtime: Literal["", "vllm", "sglang", "dynamo", "ark"] = Field(
        default="sglang", description="Engine; empty means sglang."
    )
    router_image: str | None = Field(default=None, max_length=1024, description="Image of the router.")
    runtime_image: str | None = Field(default=None, max_length=1024, description="Image of the engines.")
    runtime_version: RuntimeVersion | None = Field(
        default=None, description="Version of the engines in `runtimeImage`; default: from the image's tag."
    )
    runtime_image_pull_policy: PullPolicy | None = Field(
        default=None, description="When the images are pulled; default: IfNotPresent."
    )
    runtime_image_pull_secrets: list[ImagePullSecret] = Field(
        default_factory=list, description="Registry credentials of the images."
    )
    model: ModelRef = Field(description="The model that is served.")
    served_model_name: ServedModelName | None = Field(
        default=None, description="Name that clients use, which is also the ArksEndpoint's name; default `model.name`."
    )
    pod_group_policy: PodGroupPolicy | None = Field(
        default=None, description="Gang scheduling of each replica's nodes."
    )
    rollout_strategy: RolloutStrategy = Field(
        default_factory=RolloutStrategy, description="How replicas of every part are replaced when their spec changes."
    )
    router: RouterSpec = Field(description="The router in front of both stages.")
    prefill: DisaggregatedWorkload = Field(description="Engines that process prompts.")
    decode: DisaggregatedWorkload = Field(description="Engines that generate answers.")

    @property
    def served_name(self) -> str:
        """Public model name: also the name of the ArksEndpoint that finds this application."""
        return self.served_model_name or self.model.name


class WorkloadStatus(ApiModel):
    """Replicas of one part."""

    replicas: Count32 = Field(default=0, description="Replicas that exist.")
    ready_replicas: Count32 = Field(default=0, description="Replicas that are ready.")
    updated_replicas: Count32 = Field(default=0, description="Replicas that run the newest spec.")


class ArksDisaggregatedApplicationStatus(Status):
    """Observed state, written by app-deployer."""

    condition_types: ClassVar[tuple[str, ...]] = ArksApplicationStatus.condition_types

    phase: Annotated[ApplicationPhase, Field(strict=False)] = Field(
        default=ApplicationPhase.PENDING, description="Progress to Running."
    )
    router: WorkloadStatus = Field(default_factory=WorkloadStatus, description="Replicas of the router.")
    prefill: WorkloadStatus = Field(default_factory=WorkloadStatus, description="Replicas of prefill.")
    decode: WorkloadStatus = Field(default_factory=WorkloadStatus, description="Replicas of decode.")


class ArksDisaggregatedApplication(
    CustomResource[ArksDisaggregatedApplicationSpec, ArksDisaggregatedApplicationStatus]
):
    """Serves one model with prefill and decode on separate engines."""

    rules: ClassVar[tuple[Rule, ...]] = (APPLICATION_NAME_RULE,)
    plural: ClassVar[str] = "arksdisaggregatedapplications"
    singular: ClassVar[str] = "arksdisaggregatedapplication"
    short_names: ClassVar[tuple[str, ...]] = ("arkdapp",)
    columns: ClassVar[tuple[PrinterColumn, ...]] = (
        PrinterColumn("Phase", ".status.phase"),
        PrinterColumn("Router Ready", ".status.router.readyReplicas", "integer"),
        PrinterColumn("Prefill Ready", ".status.prefill.readyReplicas", "integer"),
        PrinterColumn("Decode Ready", ".status.decode.readyReplicas", "integer"),
        AGE,
        PrinterColumn("Model", ".spec.model.name", wide=True),
        READY_WIDE,
        REASON,
        WHY,
    )

    kind: Literal["ArksDisaggregatedApplication"] = Field(default="ArksDisaggregatedApplication", description=KIND)
