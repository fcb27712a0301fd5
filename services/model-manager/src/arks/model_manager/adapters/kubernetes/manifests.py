"""What we write: a model's claim, and the Job whose pod loads it. Pure."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from arks.contracts.resources import ArksInstanceSpec, ArksModel, ArksModelSpec
from arks.kit.key import Key
from arks.model_manager.domain.source import Order, SourceKind

Json = dict[str, Any]

MODEL_LABEL = "arks.ai/model"
PLACE = "arks.ai/place"
FINGERPRINT = "arks.ai/order"
CLAIM_UID = "arks.ai/claim-uid"
TEMPLATE = "arks.ai/template"
FAILURES = "arks.ai/failures"
BEST_BYTES = "arks.ai/best-bytes"
OUTCOME = "arks.ai/outcome"
"""Annotations of a Job. The last one is its worker's last word: the pod that said it may be gone."""

LENT = "arks.ai/lent"
"""Annotation of a claim that a model has left to the workloads that use it."""

MOUNT_PATH = "/models"
CONTAINER = "worker"
RESULT_FILE = "/dev/termination-log"
HUB_TOKEN = "HF_TOKEN"  # noqa: S105  # a name
_VOLUME = "models"
_SCRATCH = "arks-tmp"
_MAX_JOB_NAME = 63
"""It becomes the value of a label."""
_OF_CONTAINER = (
    *("securityContext", "resources", "lifecycle"),
    *("livenessProbe", "readinessProbe", "startupProbe"),
)
_NOT_OF_POD = frozenset(
    {*_OF_CONTAINER, "replicas", "labels", "annotations", "podSecurityContext", "volumes", "env", "volumeMounts"}
)
_RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}}


@dataclass(frozen=True, slots=True)
class Worker:
    """Settings of every worker."""

    image: str
    user: int | None
    """User and group, where the model says nothing; None: the platform or the image chooses."""
    connections: int
    reserve_bytes: int


@dataclass(frozen=True, slots=True)
class Place:
    """A path in a claim."""

    claim: Key
    path: str

    @classmethod
    def parse(cls, place: str) -> "Place":
        namespace, claim, path = place.split("/", 2)
        return cls(Key(namespace, claim), path)

    def __str__(self) -> str:
        return f"{self.claim}/{self.path}"

    @property
    def mounted(self) -> str:
        """Where pods that mount the claim find it."""
        return f"{MOUNT_PATH}/{self.path}"


def claim_name(name: str, spec: ArksModelSpec) -> str:
    """Of the model with this name."""
    given = spec.storage and spec.storage.pvc and spec.storage.pvc.name
    return given or name


def place_of(key: Key, spec: ArksModelSpec) -> Place:
    sub_path = spec.storage.sub_path if spec.storage is not None else None
    path = f"models/{key.namespace}/{key.name}" if sub_path is None else sub_path.rstrip("/")
    return Place(Key(key.namespace, claim_name(key.name, spec)), path)


def owner_of(model: ArksModel) -> Json:
    """What the model owns goes with it."""
    return {
        "apiVersion": model.api_version,
        "kind": model.kind,
        "name": model.name,
        "uid": model.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def claim_of(model: ArksModel, spec: Json) -> Json:
    """The claim to create. `spec`: storage.pvc.spec."""
    metadata: Json = {
        "name": claim_name(model.name, model.spec),
        "namespace": model.namespace,
        "labels": {MODEL_LABEL: model.name},
        "ownerReferences": [owner_of(model)],
    }
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def claim_owned_by(model: ArksModel) -> Json:
    """The patch that makes a claim of ours a model's."""
    labels, annotations = {MODEL_LABEL: model.name}, {LENT: None}
    return {"metadata": {"labels": labels, "annotations": annotations, "ownerReferences": [owner_of(model)]}}


def claim_lent_to(owners: Sequence[Json]) -> Json:
    """The patch that makes a claim go with workloads. They own it, but nobody waits for it."""
    kept = [{field: owner[field] for field in ("apiVersion", "kind", "name", "uid")} for owner in owners]
    return {"metadata": {"annotations": {LENT: "true"}, "ownerReferences": kept}}


def job_name(model: str) -> str:
    name = f"arks-worker-{model}"
    if len(name) <= _MAX_JOB_NAME:
        return name
    digest = hashlib.sha256(model.encode()).hexdigest()[:8]
    return f"{name[: _MAX_JOB_NAME - 9]}-{digest}"


def job_of(
    model: ArksModel,
    place: Place,
    order: Order,
    claim_uid: str,
    worker: Worker,
    *,
    failures: int = 0,
    best_bytes: int = 0,
) -> Json:
    """The Job to create. `failures`, `best_bytes`: of the ones before it.

    It is tried once: when to try again depends on what failed, and the service decides that.
    """
    annotations = {PLACE: str(place), FINGERPRINT: order.fingerprint, CLAIM_UID: claim_uid}
    template = _pod_template(model, place, order, worker)
    job_spec = {"backoffLimit": 0, "template": template}
    digest = hashlib.sha256(json.dumps([annotations, job_spec], sort_keys=True).encode()).hexdigest()[:16]
    annotations |= {TEMPLATE: digest, FAILURES: str(failures), BEST_BYTES: str(best_bytes)}
    metadata: Json = {
        "name": job_name(model.name),
        "namespace": model.namespace,
        "labels": {MODEL_LABEL: model.name},
        "annotations": annotations,
        "ownerReferences": [owner_of(model)],
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job_spec}


def template_of(job: Json) -> str:
    """Equal for Jobs that would run the same."""
    return str(job["metadata"]["annotations"][TEMPLATE])


def order_arguments(order: Order, worker: Worker) -> list[str]:
    """Of `arks.model_manager.programs.worker`."""
    what = ["--stored", f"--fingerprint={order.fingerprint}", f"--result={RESULT_FILE}"]
    if order.kind is SourceKind.STORED:
        return what
    return [
        *what[1:],
        f"--endpoint={order.endpoint}",
        f"--revision={order.revision}",
        *(f"--allow={pattern}" for pattern in order.allow_patterns),
        *(f"--ignore={pattern}" for pattern in order.ignore_patterns),
        f"--connections={worker.connections}",
        f"--reserve-bytes={worker.reserve_bytes}",
    ]


def _pod_template(model: ArksModel, place: Place, order: Order, worker: Worker) -> Json:
    instance = model.spec.instance_spec or ArksInstanceSpec()
    given = instance.to_dict()
    read_only = {"readOnly": True} if order.kind is SourceKind.STORED else {}
    scratch = _scratch_wanted(given)
    volumes = [{"name": _VOLUME, "persistentVolumeClaim": {"claimName": place.claim.name, **read_only}}]
    volumes += [{"name": _SCRATCH, "emptyDir": {}}] if scratch else []
    mounts = [{"name": _VOLUME, "mountPath": MOUNT_PATH, **read_only}]
    mounts += [{"name": _SCRATCH, "mountPath": "/tmp"}] if scratch else []  # noqa: S108  # in the container
    pod: Json = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        **{name: value for name, value in given.items() if name not in _NOT_OF_POD},
        "securityContext": _pod_security(worker.user, given) | given.get("podSecurityContext", {}),
        "volumes": [*volumes, *given.get("volumes", [])],
    }
    if model.spec.image_pull_secrets:
        pod["imagePullSecrets"] = [secret.to_dict() for secret in model.spec.image_pull_secrets]
    container = _container(model, place, order, worker, given)
    pod["containers"] = [container | {"volumeMounts": [*mounts, *given.get("volumeMounts", [])]}]
    metadata: Json = {"labels": {**instance.labels, MODEL_LABEL: model.name}}
    if instance.annotations:
        metadata["annotations"] = dict(instance.annotations)
    return {"metadata": metadata, "spec": pod}


def _container(model: ArksModel, place: Place, order: Order, worker: Worker, given: Json) -> Json:
    made: Json = {
        "name": CONTAINER,
        "image": worker.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "arks.model_manager.programs.worker"],
        "args": order_arguments(order, worker),
        "env": _environment(model, place, order, given.get("env", [])),
        "terminationMessagePath": RESULT_FILE,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": _RESOURCES,
    }
    made |= {name: given[name] for name in _OF_CONTAINER if name in given}
    made["securityContext"] = _CONTAINER_SECURITY | given.get("securityContext", {})
    return made


def _environment(model: ArksModel, place: Place, order: Order, given: list[Json]) -> list[Json]:
    """Ours, then the model's own; a name occurs once, and those that make the contract with the worker are ours."""
    ours: list[Json] = [
        {"name": "MODEL_NAME", "value": order.repository or model.spec.model},
        {"name": "MODEL_PATH", "value": place.mounted},
    ]
    hub = model.spec.source.huggingface if model.spec.source is not None else None
    if hub is not None and hub.token_secret_ref is not None:
        reference = {"name": hub.token_secret_ref.name, "key": hub.token_secret_ref.key}
        ours.append({"name": HUB_TOKEN, "valueFrom": {"secretKeyRef": reference}})
    taken = {variable["name"] for variable in ours}
    last: dict[str, Json] = {variable["name"]: variable for variable in given}
    return [*ours, *(variable for name, variable in last.items() if name not in taken)]


_CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def _pod_security(user: int | None, given: Json) -> Json:
    """As the restricted Pod Security Standard wants it, unless somebody asks for root.

    Volumes become writable for the group, where their kind can do that.
    """
    made: Json = {"seccompProfile": {"type": "RuntimeDefault"}}
    if all(given.get(name, {}).get("runAsUser") != 0 for name in ("podSecurityContext", "securityContext")):
        made["runAsNonRoot"] = True
    if user is not None:
        made |= {"runAsUser": user, "runAsGroup": user, "fsGroup": user, "fsGroupChangePolicy": "OnRootMismatch"}
    return made


def _scratch_wanted(given: Json) -> bool:
    return all(mount.get("mountPath", "").rstrip("/") != "/tmp" for mount in given.get("volumeMounts", []))  # noqa: S108
