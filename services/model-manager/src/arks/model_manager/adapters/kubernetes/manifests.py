"""The objects that the service writes: a model's PVC, and the Job whose pod downloads into it. Pure."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from arks.contracts.resources import ArksInstanceSpec, ArksModel, ArksModelSpec
from arks.kit.key import Key
from arks.kit.kube.pod_defaults import NO_DEFAULTS, PodDefaults
from arks.kit.kube.pod_template import PROBES, container_fields, owner_reference, pod_fields, pull_secrets
from arks.kit.types import Json
from arks.model_manager.adapters.kubernetes.placement import NO_PLACEMENT, Placement
from arks.model_manager.domain.credentials import credential_refs
from arks.model_manager.domain.garbage import DEFAULT_WATERMARKS, Watermarks
from arks.model_manager.domain.request import Limits
from arks.model_manager.domain.source_kind import SourceKind
from arks.model_manager.domain.storage_path import ARKS_DIRECTORY
from arks.model_manager.domain.weights_source import WeightsSource

MODEL_LABEL = "arks.ai/model"
STORAGE_PATH = "arks.ai/place"
FINGERPRINT = "arks.ai/order"
PVC_UID = "arks.ai/claim-uid"
TEMPLATE = "arks.ai/template"
PLACEMENT = "arks.ai/placement"
FAILURES = "arks.ai/failures"
BEST_BYTES = "arks.ai/best-bytes"
OUTCOME = "arks.ai/outcome"
"""Annotations of a Job. The last one is its worker's outcome, because the pod that reported it may be deleted."""

LENT = "arks.ai/lent"
"""Annotation of a PVC whose model is deleted, and which the workloads that use it own now."""

SELECTED_NODE = "volume.kubernetes.io/selected-node"
"""Annotation of a PVC that is bound where its first pod runs; the scheduler sets it."""

MOUNT_PATH = "/models"
CONTAINER = "worker"
RESULT_FILE = "/dev/termination-log"
_VOLUME = "models"
_SCRATCH = "arks-tmp"
_MAX_JOB_NAME = 63
"""It becomes the value of a label."""
_CONTAINER_FIELDS = ("securityContext", "resources", "lifecycle", *PROBES)
RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Settings of every worker."""

    image: str
    user: int | None
    """User and group of workers of models that name none; None: the platform or the image chooses."""
    limits: Limits
    defaults: PodDefaults = NO_DEFAULTS


@dataclass(frozen=True, slots=True)
class StoragePath:
    """A path in a PVC."""

    pvc: Key
    path: str

    @classmethod
    def parse(cls, storage_path: str) -> "StoragePath":
        namespace, name, path = storage_path.split("/", 2)
        return cls(Key(namespace, name), path)

    def __str__(self) -> str:
        return f"{self.pvc}/{self.path}"

    @property
    def mounted(self) -> str:
        """The path in pods that mount the PVC."""
        return f"{MOUNT_PATH}/{self.path}"


def pvc_name(name: str, spec: ArksModelSpec) -> str:
    """Name of the PVC of the model `name`."""
    given = spec.storage and spec.storage.pvc and spec.storage.pvc.name
    return given or name


def storage_path_of(key: Key, spec: ArksModelSpec) -> StoragePath:
    sub_path = spec.storage.sub_path if spec.storage is not None else None
    path = f"models/{key.namespace}/{key.name}" if sub_path is None else sub_path.rstrip("/")
    return StoragePath(Key(key.namespace, pvc_name(key.name, spec)), path)


def pvc_manifest(model: ArksModel, spec: Json) -> Json:
    """The PVC to create. `spec`: storage.pvc.spec."""
    metadata: Json = {
        "name": pvc_name(model.name, model.spec),
        "namespace": model.namespace,
        "labels": {MODEL_LABEL: model.name},
        "ownerReferences": [owner_reference(model)],
    }
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def ownership_patch(model: ArksModel, uid: str) -> Json:
    """The patch that makes a model the owner of a PVC that Arks created. It fails for a PVC with another uid."""
    metadata = {"uid": uid, "labels": {MODEL_LABEL: model.name}, "annotations": {LENT: None}}
    return {"metadata": {**metadata, "ownerReferences": [owner_reference(model)]}}


def lending_patch(owners: Sequence[Json], uid: str) -> Json:
    """The patch that makes workloads the owners of a PVC: it is deleted with the last, and blocks no deletion.

    It fails for a PVC with another uid.
    """
    kept = [{field: owner[field] for field in ("apiVersion", "kind", "name", "uid")} for owner in owners]
    return {"metadata": {"uid": uid, "annotations": {LENT: "true"}, "ownerReferences": kept}}


def job_name(model: str) -> str:
    return bounded_name("arks-worker-", model)


def bounded_name(prefix: str, model: str) -> str:
    """A name that can become a label's value, cut and hashed if it is too long."""
    name = f"{prefix}{model}"
    if len(name) <= _MAX_JOB_NAME:
        return name
    digest = hashlib.sha256(model.encode()).hexdigest()[:8]
    return f"{name[: _MAX_JOB_NAME - 9]}-{digest}"


def job_manifest(
    model: ArksModel,
    storage_path: StoragePath,
    source: WeightsSource,
    pvc_uid: str,
    worker: WorkerOptions,
    *,
    failures: int = 0,
    best_bytes: int = 0,
    placement: Placement = NO_PLACEMENT,
) -> Json:
    """The Job to create. `failures`, `best_bytes`: of the Jobs before it. `placement`: no part of `template_of`,
    because a download that runs has bound the volume, and goes on whatever becomes of the applications.

    Kubernetes runs it once: the service decides when to retry, because that depends on the failure.
    """
    annotations = {STORAGE_PATH: str(storage_path), FINGERPRINT: source.fingerprint, PVC_UID: pvc_uid}
    template = worker.defaults.apply(_pod_template(model, storage_path, source, worker))
    job_spec = {"backoffLimit": 0, "template": template}
    placed = {**job_spec, "template": placement.apply(template)}
    digest = hashlib.sha256(json.dumps([annotations, job_spec], sort_keys=True).encode()).hexdigest()[:16]
    annotations |= {TEMPLATE: digest, FAILURES: str(failures), BEST_BYTES: str(best_bytes)}
    annotations |= {PLACEMENT: placement.digest} if placement.digest else {}
    metadata: Json = {
        "name": job_name(model.name),
        "namespace": model.namespace,
        "labels": {MODEL_LABEL: model.name},
        "annotations": annotations,
        "ownerReferences": [owner_reference(model)],
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": placed}


def template_of(job: Json) -> str:
    """A digest, equal for Jobs that would run the same."""
    return str(job["metadata"]["annotations"][TEMPLATE])


def worker_arguments(source: WeightsSource, worker: WorkerOptions) -> list[str]:
    """The command line of `arks.model_manager.programs.worker`."""
    common = [f"--fingerprint={source.fingerprint}", f"--result={RESULT_FILE}"]
    if source.kind is SourceKind.STORED:
        return ["--stored", *common]
    return [
        *common,
        f"--endpoint={source.endpoint}",
        f"--revision={source.revision}",
        *([] if source.kind is SourceKind.HUB else [f"--kind={source.kind}"]),
        *([f"--region={source.region}"] if source.region else []),
        *(f"--file={json.dumps(asdict(file))}" for file in source.files),
        *(f"--allow={pattern}" for pattern in source.allow_patterns),
        *(f"--ignore={pattern}" for pattern in source.ignore_patterns),
        f"--connections={worker.limits.connections}",
        *([f"--bytes-per-second={rate}"] if (rate := worker.limits.bytes_per_second) is not None else []),
        f"--reserve-bytes={worker.limits.reserve_bytes}",
        f"--store={MOUNT_PATH}/{ARKS_DIRECTORY}/store",
        *_watermarks(worker.limits.marks),
    ]


def _watermarks(marks: Watermarks) -> list[str]:
    """Nothing for the default, so that Jobs of earlier versions stay as they are."""
    if marks == DEFAULT_WATERMARKS:
        return []
    return [f"--high-percent={marks.high_percent:g}", f"--low-percent={marks.low_percent:g}"]


def _pod_template(model: ArksModel, storage_path: StoragePath, source: WeightsSource, worker: WorkerOptions) -> Json:
    instance = model.spec.instance_spec or ArksInstanceSpec()
    given = instance.to_dict()
    read_only = {"readOnly": True} if source.kind is SourceKind.STORED else {}
    scratch = _needs_scratch(given)
    volumes = [{"name": _VOLUME, "persistentVolumeClaim": {"claimName": storage_path.pvc.name, **read_only}}]
    volumes += [{"name": _SCRATCH, "emptyDir": {}}] if scratch else []
    mounts = [{"name": _VOLUME, "mountPath": MOUNT_PATH, **read_only}]
    mounts += [{"name": _SCRATCH, "mountPath": "/tmp"}] if scratch else []  # noqa: S108  # in the container
    container = _container(model, storage_path, source, worker, instance)
    pod: Json = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        **pod_fields(instance),
        "securityContext": pod_security(worker.user, given) | given.get("podSecurityContext", {}),
        "volumes": [*volumes, *given.get("volumes", [])],
        **pull_secrets(model.spec.image_pull_secrets),
        "containers": [container | {"volumeMounts": [*mounts, *given.get("volumeMounts", [])]}],
    }
    metadata: Json = {"labels": {**instance.labels, MODEL_LABEL: model.name}}
    if instance.annotations:
        metadata["annotations"] = dict(instance.annotations)
    return {"metadata": metadata, "spec": pod}


def _container(
    model: ArksModel,
    storage_path: StoragePath,
    source: WeightsSource,
    worker: WorkerOptions,
    instance: ArksInstanceSpec,
) -> Json:
    given = instance.to_dict()
    container: Json = {
        "name": CONTAINER,
        "image": worker.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "arks.model_manager.programs.worker"],
        "args": worker_arguments(source, worker),
        "env": _environment(model, storage_path, source, given.get("env", [])),
        "terminationMessagePath": RESULT_FILE,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {} if worker.defaults.resources else RESOURCES,
        **container_fields(instance, _CONTAINER_FIELDS),
    }
    container["securityContext"] = CONTAINER_SECURITY | given.get("securityContext", {})
    return container


def _environment(model: ArksModel, storage_path: StoragePath, source: WeightsSource, given: list[Json]) -> list[Json]:
    """The variables that the worker reads, then the model's; each name once, and the worker's win."""
    variables: list[Json] = [
        {"name": "MODEL_NAME", "value": source.repository or model.spec.model},
        {"name": "MODEL_PATH", "value": storage_path.mounted},
    ]
    for ref in credential_refs(model.spec):
        optional = {} if ref.required else {"optional": True}
        reference = {"name": ref.secret, "key": ref.key, **optional}
        variables.append({"name": ref.variable, "valueFrom": {"secretKeyRef": reference}})
    taken = {variable["name"] for variable in variables}
    last: dict[str, Json] = {variable["name"]: variable for variable in given}
    return [*variables, *(variable for name, variable in last.items() if name not in taken)]


def pod_security(user: int | None, given: Json) -> Json:
    """As the restricted Pod Security Standard requires, unless the model sets user 0.

    `fsGroup` makes volumes writable for the group, if their kind supports that.
    """
    context: Json = {"seccompProfile": {"type": "RuntimeDefault"}}
    if all(given.get(name, {}).get("runAsUser") != 0 for name in ("podSecurityContext", "securityContext")):
        context["runAsNonRoot"] = True
    if user is not None:
        context |= {"runAsUser": user, "runAsGroup": user, "fsGroup": user, "fsGroupChangePolicy": "OnRootMismatch"}
    return context


def _needs_scratch(given: Json) -> bool:
    """Whether the model mounts nothing at /tmp."""
    return all(mount.get("mountPath", "").rstrip("/") != "/tmp" for mount in given.get("volumeMounts", []))  # noqa: S108
