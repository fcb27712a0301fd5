"""The objects of copies on nodes: a volume and its PVC a namespace, and the Job that exports a model's PVC. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from arks.contracts.names import CACHE_PVC
from arks.contracts.resources import ArksModel
from arks.kit.key import key_of
from arks.kit.kube.pod_template import owner_reference, pull_secrets
from arks.kit.types import Json
from arks.model_manager.adapters.kubernetes.manifests import (
    CONTAINER,
    CONTAINER_SECURITY,
    MOUNT_PATH,
    RESOURCES,
    WorkerOptions,
    bounded_name,
    pod_security,
    storage_path_of,
)
from arks.model_manager.domain.node_cache.tickets import namespace_key

VOLUME_LABEL = "arks.ai/node-cache"
"""Label of volumes of copies; its value is the release's namespace."""
EXPORT_LABEL = "arks.ai/cache-export"
"""Label of Jobs that export a PVC, and of their pods; its value is the model's name."""
PORT_NAME = "node-cache"
"""Of the container port of agents and exports."""
_SIZE = "1Mi"
"""A hostPath volume has no size; quotas of namespaces count what a PVC requests."""
_EXPORT_SECONDS = 6 * 3600


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """Settings of copies on nodes."""

    directory: str
    """On each node."""
    release_namespace: str
    agents: str
    """Label selector of the agents' pods in the release's namespace."""
    key: str
    """Of the installation."""
    export_port: int
    worker: WorkerOptions


def volume_name(namespace: str) -> str:
    return f"{CACHE_PVC}-{namespace}"


def volume_manifest(namespace: str, options: CacheOptions) -> Json:
    """The volume of a namespace: the same path on every node. On a node without an agent it is an empty directory, so
    pods run there too."""
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": CACHE_PVC}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": volume_name(namespace),
            "namespace": "",
            "labels": {VOLUME_LABEL: options.release_namespace},
        },
        "spec": {
            "capacity": {"storage": _SIZE},
            "accessModes": ["ReadOnlyMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "hostPath": {"path": f"{options.directory}/namespaces/{namespace}", "type": "DirectoryOrCreate"},
            "claimRef": claim,
        },
    }


def claim_manifest(model: ArksModel) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CACHE_PVC, "namespace": model.namespace, "ownerReferences": [owner_of(model)]},
        "spec": {
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "volumeName": volume_name(model.namespace),
            "resources": {"requests": {"storage": _SIZE}},
        },
    }


def owner_of(model: ArksModel) -> Json:
    """One of several owners: the PVC goes with the last, and blocks no deletion."""
    return {name: value for name, value in owner_reference(model).items() if name not in _OF_ONLY_OWNER}


_OF_ONLY_OWNER = frozenset({"controller", "blockOwnerDeletion"})


def export_name(model: str) -> str:
    return bounded_name("arks-export-", model)


def export_manifest(model: ArksModel, options: CacheOptions) -> Json:
    """The Job that serves the model of a PVC to agents. It has the key of the model's namespace only."""
    path, worker = storage_path_of(key_of(model), model.spec), options.worker
    labels = {EXPORT_LABEL: model.name}
    given = model.spec.instance_spec.to_dict() if model.spec.instance_spec is not None else {}
    variables: Mapping[str, str] = {
        "ARKS_EXPORT_NAMESPACE": model.namespace,
        "ARKS_EXPORT_MODEL": model.name,
        "ARKS_EXPORT_PATH": path.mounted,
        "ARKS_EXPORT_KEY": namespace_key(options.key, model.namespace),
        "ARKS_EXPORT_PORT": str(options.export_port),
    }
    container: Json = {
        "name": CONTAINER,
        "image": worker.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "arks.model_manager.programs.node_cache.export"],
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "ports": [{"name": PORT_NAME, "containerPort": options.export_port, "protocol": "TCP"}],
        "resources": {} if worker.defaults.resources else RESOURCES,
        "securityContext": CONTAINER_SECURITY | given.get("securityContext", {}),
        "volumeMounts": [{"name": "models", "mountPath": MOUNT_PATH, "readOnly": True}],
    }
    pod: Json = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        **{name: given[name] for name in ("nodeSelector", "tolerations", "affinity") if name in given},
        "securityContext": pod_security(worker.user, given) | given.get("podSecurityContext", {}),
        "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": path.pvc.name, "readOnly": True}}],
        **pull_secrets(model.spec.image_pull_secrets),
        "containers": [container],
    }
    template = worker.defaults.apply({"metadata": {"labels": labels}, "spec": pod})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": export_name(model.name),
            "namespace": model.namespace,
            "labels": labels,
            "ownerReferences": [owner_reference(model)],
        },
        "spec": {"backoffLimit": 0, "activeDeadlineSeconds": _EXPORT_SECONDS, "template": template},
    }
