"""ArksApplication: replicas of an engine that serve one model."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from arks.contracts.resources.instance import ArksInstanceSpec, ImagePullSecret, PodGroupPolicy
from arks.contracts.resources.meta import (
    AGE,
    KIND,
    REASON,
    WHY,
    CustomResource,
    PrinterColumn,
    Resource,
    ScalePaths,
    Status,
)
from arks.contracts.resources.rollout import RolloutStrategy
from arks.contracts.resources.schema import ApiModel, Count32, Count64, ObjectName, Rule, differ

MAX_APPLICATION_NAME_LENGTH = 46
"""`arks-application-<name>` names the Service: at most 63 characters."""


class Runtime(StrEnum):
    VLLM = "vllm"
    SGLANG = "sglang"
    DYNAMO = "dynamo"
    LLAMACPP = "llamacpp"
    ARK = "ark"


class ApplicationPhase(StrEnum):
    PENDING = "Pending"
    CHECKING = "Checking"
    LOADING = "Loading"
    CREATING = "Creating"
    RUNNING = "Running"
    FAILED = "Failed"


SERVED_NAME_PATTERN = r"^([A-Za-z0-9][A-Za-z0-9._:/@-]*)?$"
"""No blanks and no shell characters, because the name is used in command lines."""
ServedModelName = Annotated[str, Field(max_length=253, pattern=SERVED_NAME_PATTERN)]
RuntimeVersion = Annotated[str, Field(max_length=63, pattern=r"^[0-9]+(\.[0-9]+)*$")]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]
RuntimeArgument = Annotated[str, Field(max_length=4096)]


class ModelRef(ApiModel):
    """The model that is served."""

    name: ObjectName = Field(description="Name of the ArksModel, in the same namespace.")


class ArksApplicationSpec(ApiModel):
    """Which engine serves the model, with how many replicas and nodes."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            message="set either size or instanceSpec.replicas (deprecated), not two different values",
            broken_at=lambda spec: ("size",) if differ(spec.size, spec.instance_spec.replicas) else None,
            cel="!has(self.size) || !has(self.instanceSpec.replicas) || self.size == self.instanceSpec.replicas",
        ),
        Rule(
            message="set either runtimeCommonArgs or extraOptions (deprecated), not two different values",
            broken_at=lambda spec: (
                ("runtimeCommonArgs",) if differ(spec.runtime_common_args, spec.extra_options) else None
            ),
            cel=(
                "!has(self.runtimeCommonArgs) || !has(self.extraOptions) || self.runtimeCommonArgs == self.extraOptions"
            ),
        ),
    )

    replicas: Count32 = Field(default=1, description="Replicas that serve the model; each is a group of `size` nodes.")
    size: int | None = Field(
        default=None, ge=1, le=2**31 - 1, description="Nodes per replica (multi-node inference); default 1."
    )
    runtime: Literal["", "vllm", "sglang", "dynamo", "llamacpp", "ark"] = Field(
        default="vllm", description="Engine; empty means vllm."
    )
    driver: Literal["LWS"] | None = Field(default=None, description="Deprecated; ignored. LWS is the only driver.")
    runtime_image: str | None = Field(
        default=None, max_length=1024, description="Image of the engine; the default depends on the runtime."
    )
    runtime_version: RuntimeVersion | None = Field(
        default=None, description="Version of the engine in `runtimeImage`; default: from the image's tag."
    )
    runtime_image_pull_policy: PullPolicy | None = Field(
        default=None, description="When the engine's image is pulled; default: IfNotPresent."
    )
    runtime_image_pull_secrets: list[ImagePullSecret] = Field(
        default_factory=list, description="Registry credentials of the engine's image."
    )
    model: ModelRef = Field(description="The model that is served.")
    served_model_name: ServedModelName | None = Field(
        default=None, description="Name that clients use, which is also the ArksEndpoint's name; default `model.name`."
    )
    tensor_parallel_size: int | None = Field(
        default=None,
        ge=0,
        le=2**31 - 1,
        description="Accelerators that share one model; 0 or absent: the engine's default.",
    )
    runtime_common_args: list[RuntimeArgument] | None = Field(
        default=None, max_length=256, description="Extra command-line arguments for the engine."
    )
    extra_options: list[RuntimeArgument] | None = Field(
        default=None, max_length=256, description="Old spelling of `runtimeCommonArgs`."
    )
    loading: Literal["auto", "default", "streamer", "fastsafetensors", "mmap"] | None = Field(
        default=None,
        description=(
            "How weights are loaded: `auto` reads the files into the node's page cache before the engine starts; "
            "`streamer` (Run:ai Model Streamer), `fastsafetensors` and `mmap` are options of the engine, and refused "
            "if its version has none; `default` or absent: as the engine does it."
        ),
    )
    pod_group_policy: PodGroupPolicy | None = Field(
        default=None, description="Gang scheduling of each replica's nodes."
    )
    rollout_strategy: RolloutStrategy = Field(
        default_factory=RolloutStrategy, description="How replicas are replaced when their spec changes."
    )
    instance_spec: ArksInstanceSpec = Field(description="How the engine's pods run.")

    @property
    def group_size(self) -> int:
        """Nodes per replica, from either spelling."""
        return self.size or self.instance_spec.replicas or 1

    @property
    def runtime_args(self) -> list[str]:
        """Extra arguments for the engine, from either spelling."""
        return list(self.runtime_common_args or self.extra_options or [])

    @property
    def effective_runtime(self) -> Runtime:
        return Runtime(self.runtime or Runtime.VLLM)

    @property
    def served_name(self) -> str:
        """Public model name: also the name of the ArksEndpoint that finds this application."""
        return self.served_model_name or self.model.name


class InstanceState(StrEnum):
    STARTING = "Starting"
    """Its process or pod exists and does not answer yet."""
    LOADING = "Loading"
    """It answers, but its model does not."""
    READY = "Ready"
    DRAINING = "Draining"
    """It finishes its requests and gets no new ones."""
    BACK_OFF = "BackOff"
    """It ended and will be restarted."""
    FAILED = "Failed"
    """It ended repeatedly; restarts go on at long intervals."""


Seconds = Annotated[float, Field(ge=0, strict=False)]


class InstanceStart(ApiModel):
    """Where the time of an engine's start went. A phase that did not take place, or was not measured, is absent."""

    seconds: Seconds = Field(description="Of all phases: from a node for its pod until its first token.")
    prepare_seconds: Seconds | None = Field(
        default=None, description="Until its pod had volumes and network; with other init containers."
    )
    image_seconds: Seconds | None = Field(default=None, description="Until its containers ran: images were pulled.")
    read_ahead_seconds: Seconds | None = Field(
        default=None, description="Weights were read from shared storage into the memory of the node."
    )
    load_seconds: Seconds = Field(description="From the start of the engine until it was ready: weights were loaded.")
    warm_up_seconds: Seconds | None = Field(default=None, description="From then until its first token.")


class InstanceStatus(ApiModel):
    """One running engine."""

    name: str = Field(description="Name of the replica.")
    address: str = Field(default="", description="host:port of the replica; empty until known.")
    state: str = Field(description="Starting, Loading, Ready, Draining, BackOff or Failed.")
    restarts: Count32 = Field(default=0, description="Number of restarts.")
    message: str = Field(
        default="",
        max_length=4096,
        description="Reason of the state, with the engine's last log lines after a failure.",
    )
    start: InstanceStart | None = Field(default=None, description="How long each phase of its start took.")


class ArksApplicationStatus(Status):
    """Observed state, written by app-deployer."""

    condition_types: ClassVar[tuple[str, ...]] = ("Precheck", "Loaded", "Ready", "Progressing")

    phase: Annotated[ApplicationPhase, Field(strict=False)] = Field(
        default=ApplicationPhase.PENDING, description="Progress to Running."
    )
    replicas: Count32 = Field(default=0, description="Replicas that exist.")
    ready_replicas: Count32 = Field(default=0, description="Replicas that are ready.")
    updated_replicas: Count32 = Field(default=0, description="Replicas that run the newest spec.")
    model_generation: Count64 | None = Field(
        default=None, description="Generation of the ArksModel whose files the ready replicas have loaded."
    )
    selector: str | None = Field(default=None, description="Label selector of one pod a replica, for autoscalers.")
    instances: list[InstanceStatus] = Field(default_factory=list, description="One entry per engine replica.")


def _name_too_long(resource: Resource) -> tuple[str | int, ...] | None:
    fits = len(resource.metadata.name) <= MAX_APPLICATION_NAME_LENGTH and "." not in resource.metadata.name
    return None if fits else ("metadata", "name")


APPLICATION_NAME_RULE = Rule(
    message=(
        f"metadata.name must be a DNS label of at most {MAX_APPLICATION_NAME_LENGTH} characters: "
        "it becomes part of a Service's name"
    ),
    broken_at=_name_too_long,
    cel=f"self.metadata.name.size() <= {MAX_APPLICATION_NAME_LENGTH} && !self.metadata.name.contains('.')",
)


class ArksApplication(CustomResource[ArksApplicationSpec, ArksApplicationStatus]):
    """Serves one model with replicas of one engine."""

    rules: ClassVar[tuple[Rule, ...]] = (APPLICATION_NAME_RULE,)
    plural: ClassVar[str] = "arksapplications"
    singular: ClassVar[str] = "arksapplication"
    short_names: ClassVar[tuple[str, ...]] = ("arkapp",)
    scale: ClassVar[ScalePaths | None] = ScalePaths()
    columns: ClassVar[tuple[PrinterColumn, ...]] = (
        PrinterColumn("Phase", ".status.phase"),
        PrinterColumn("Replicas", ".status.replicas", "integer"),
        PrinterColumn("Ready", ".status.readyReplicas", "integer"),
        AGE,
        PrinterColumn("Model", ".spec.model.name", wide=True),
        PrinterColumn("Runtime", ".spec.runtime", wide=True),
        PrinterColumn("Driver", ".spec.driver", wide=True),
        REASON,
        WHY,
    )

    kind: Literal["ArksApplication"] = Field(default="ArksApplication", description=KIND)
