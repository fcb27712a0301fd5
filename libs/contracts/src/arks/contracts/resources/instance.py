"""ArksInstanceSpec: the part of a pod template that applications and download workers share."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from arks.contracts.resources.meta import GROUP
from arks.contracts.resources.schema import ApiModel, Count32, Count64, Int32, Passthrough, Rule

RESERVED_VOLUME = "models"
RESERVED_MOUNT_PATH = "/models"
OWNED_PREFIX = f"{GROUP}/"
"""Of keys of labels and annotations that Arks writes itself."""
MAX_KEYS = 256
"""An API server refuses rules over maps of unknown size."""


def _partial_schema(**properties: dict[str, Any]) -> dict[str, Any]:
    """Declares to the API server the properties that rules look at; the others are kept as they are."""
    return {"x-kubernetes-preserve-unknown-fields": True, "properties": properties}


Volume = Annotated[
    dict[str, Any],
    Field(json_schema_extra=_partial_schema(name={"type": "string", "description": "Name.", "maxLength": 63})),
]
VolumeMount = Annotated[
    dict[str, Any],
    Field(
        json_schema_extra=_partial_schema(
            mountPath={"type": "string", "description": "Where in the container.", "maxLength": 4096}
        )
    ),
]


class EnvVar(ApiModel):
    """An environment variable of the engine's container."""

    name: str = Field(min_length=1, max_length=512, description="Name of the variable.")
    value: str | None = Field(default=None, repr=False, description="Its value.")
    value_from: Passthrough | None = Field(
        default=None, description="Where the value comes from; on one machine only `secretKeyRef` is used."
    )


class ImagePullSecret(ApiModel):
    """A secret with the credentials of a registry."""

    name: str = Field(default="", max_length=253, description="Name of the secret, in the same namespace.")


def _reserved_volume(spec: "ArksInstanceSpec") -> tuple[str | int, ...] | None:
    for position, volume in enumerate(spec.volumes):
        if volume.get("name") == RESERVED_VOLUME:
            return ("volumes", position, "name")
    return None


def _reserved_mount(spec: "ArksInstanceSpec") -> tuple[str | int, ...] | None:
    for position, mount in enumerate(spec.volume_mounts):
        path = mount.get("mountPath")
        if isinstance(path, str) and (path.rstrip("/") + "/").startswith(RESERVED_MOUNT_PATH + "/"):
            return ("volumeMounts", position, "mountPath")
    return None


def _owned_key(field: str) -> Rule:
    """Keys of this group in a pod are written by Arks, and read again as its own state."""

    def broken_at(spec: "ArksInstanceSpec") -> tuple[str | int, ...] | None:
        keys: dict[str, str] = getattr(spec, field)
        return next(((field, key) for key in keys if key.startswith(OWNED_PREFIX)), None)

    return Rule(
        message=f"{field}: keys that begin with {OWNED_PREFIX} are reserved for Arks",
        broken_at=broken_at,
        cel=f"!has(self.{field}) || self.{field}.all(key, !key.startsWith('{OWNED_PREFIX}'))",
        new_only=True,
    )


class ArksInstanceSpec(ApiModel):
    """How the pods of an application (or of a model's download) run. Kubernetes objects are handed on as they are.

    On one machine `env` and `terminationGracePeriodSeconds` are used; `arks apply` and the status name what has no
    effect.
    """

    rules: ClassVar[tuple[Rule, ...]] = (
        _owned_key("labels"),
        _owned_key("annotations"),
        Rule(
            message="volumes: the name models is reserved for the model's storage",
            broken_at=_reserved_volume,
            cel="!has(self.volumes) || self.volumes.all(v, !has(v.name) || v.name != 'models')",
        ),
        Rule(
            message="volumeMounts: the path /models is reserved for the model's storage",
            broken_at=_reserved_mount,
            cel=(
                "!has(self.volumeMounts) || self.volumeMounts.all(m, !has(m.mountPath) || "
                "(m.mountPath != '/models' && !m.mountPath.startsWith('/models/')))"
            ),
        ),
    )

    replicas: int | None = Field(
        default=None, ge=1, le=2**31 - 1, description="Old spelling of the application's `size`: nodes in one replica."
    )
    # Of the pod
    termination_grace_period_seconds: Count64 | None = Field(default=None, description="Grace period after SIGTERM.")
    active_deadline_seconds: Count64 | None = Field(default=None, description="Time after which the pod is stopped.")
    dns_policy: str | None = Field(default=None, description="DNS policy of the pod.")
    dns_config: Passthrough | None = Field(default=None, description="DNS settings of the pod.")
    automount_service_account_token: bool | None = Field(default=None, description="Whether the API token is mounted.")
    node_name: str | None = Field(default=None, description="Node to run on, past the scheduler.")
    host_network: bool | None = Field(default=None, description="Use the node's network.")
    host_pid: bool | None = Field(default=None, alias="hostPID", description="Use the node's process ids.")
    host_ipc: bool | None = Field(default=None, alias="hostIPC", description="Use the node's shared memory.")
    share_process_namespace: bool | None = Field(default=None, description="Containers see each other's processes.")
    pod_security_context: Passthrough | None = Field(default=None, description="Security settings of the pod.")
    subdomain: str | None = Field(default=None, description="Subdomain of the pod's host name.")
    host_aliases: list[Passthrough] = Field(default_factory=list, description="Extra lines of /etc/hosts.")
    priority_class_name: str | None = Field(default=None, description="Priority class of the pod.")
    priority: Int32 | None = Field(default=None, description="Priority of the pod.")
    runtime_class_name: str | None = Field(default=None, description="Container runtime class.")
    enable_service_links: bool | None = Field(default=None, description="Service addresses as environment variables.")
    preemption_policy: str | None = Field(default=None, description="Whether the pod may preempt others.")
    overhead: Passthrough | None = Field(default=None, description="Resources that the runtime class costs.")
    topology_spread_constraints: list[Passthrough] = Field(
        default_factory=list, description="Spread over zones or nodes."
    )
    set_hostname_as_fqdn: bool | None = Field(
        default=None, alias="setHostnameAsFQDN", description="The full domain name is the host name."
    )
    os: Passthrough | None = Field(default=None, description="Operating system of the pod.")
    host_users: bool | None = Field(default=None, description="Use the node's user ids.")
    scheduling_gates: list[Passthrough] = Field(default_factory=list, description="Gates that delay scheduling.")
    resource_claims: list[Passthrough] = Field(default_factory=list, description="Claims of dynamic resources.")
    node_selector: dict[str, str] | None = Field(
        default=None, description="Labels a node must have.", json_schema_extra={"x-kubernetes-map-type": "atomic"}
    )
    affinity: Passthrough | None = Field(default=None, description="Which nodes and neighbours are preferred.")
    scheduler_name: str | None = Field(default=None, description="Scheduler to use.")
    tolerations: list[Passthrough] = Field(
        default_factory=list,
        description="Taints that are tolerated.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    service_account_name: str | None = Field(default=None, description="Service account of the pod.")
    init_containers: list[Passthrough] = Field(default_factory=list, description="Containers that run first.")
    labels: dict[str, str] = Field(
        default_factory=dict,
        max_length=MAX_KEYS,
        description=f"Labels added to the pods; keys that begin with `{OWNED_PREFIX}` are reserved.",
    )
    annotations: dict[str, str] = Field(
        default_factory=dict,
        max_length=MAX_KEYS,
        description=f"Annotations added to the pods; keys that begin with `{OWNED_PREFIX}` are reserved.",
    )
    volumes: list[Volume] = Field(
        default_factory=list, max_length=128, description="Additional volumes; none may be named `models`."
    )
    # Of the engine's container
    security_context: Passthrough | None = Field(default=None, description="Security settings of the container.")
    resources: Passthrough | None = Field(default=None, description="Requests and limits of each node.")
    env: list[EnvVar] = Field(default_factory=list, description="Environment variables.")
    volume_mounts: list[VolumeMount] = Field(
        default_factory=list, max_length=128, description="Mounts; /models and paths under it are taken."
    )
    liveness_probe: Passthrough | None = Field(default=None, description="When the container is restarted.")
    readiness_probe: Passthrough | None = Field(default=None, description="When the container gets traffic.")
    startup_probe: Passthrough | None = Field(default=None, description="When the other probes begin.")
    lifecycle: Passthrough | None = Field(default=None, description="Hooks at start and end.")


class KubeScheduling(ApiModel):
    """Gang scheduling by the scheduler plugins."""

    schedule_timeout_seconds: Count32 = Field(
        default=60, description="How long a group may wait to be scheduled as a whole."
    )


class VolcanoScheduling(ApiModel):
    """Gang scheduling by Volcano."""

    priority_class_name: str | None = Field(default=None, description="Priority class of the group.")
    queue: str | None = Field(default=None, description="Volcano queue.")


class PodGroupPolicy(ApiModel):
    """Schedule all pods of a group or none. One scheduler at most."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            message="give kubeScheduling or volcanoScheduling, not both",
            broken_at=lambda policy: () if policy.kube_scheduling and policy.volcano_scheduling else None,
            cel="!(has(self.kubeScheduling) && has(self.volcanoScheduling))",
        ),
    )

    kube_scheduling: KubeScheduling | None = Field(default=None, description="Use the scheduler plugins.")
    volcano_scheduling: VolcanoScheduling | None = Field(default=None, description="Use Volcano.")
