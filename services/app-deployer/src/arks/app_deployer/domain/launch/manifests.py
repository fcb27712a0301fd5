"""Manifests of an ArksApplication on Kubernetes: a LeaderWorkerSet and a Service. Pure: resources in, objects out."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from arks.app_deployer.domain.launch import commands, loading, node_copy, pod_templates, scheduling, shared_memory
from arks.app_deployer.domain.launch.arguments import as_arguments
from arks.app_deployer.domain.launch.containers import HTTP_PORT, Group, label_value, model_path
from arks.app_deployer.domain.launch.node_copy import NodeCopy
from arks.app_deployer.domain.launch.pod_templates import PodFrame, serving_of
from arks.app_deployer.domain.launch.profile_set import Profiles
from arks.app_deployer.domain.surge import Rollout
from arks.contracts.names import APPLICATION_LABEL, MODEL_LABEL, service_name
from arks.contracts.resources import ArksApplication, ArksDisaggregatedApplication, ArksInstanceSpec
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.kube.pod_template import owner_reference
from arks.kit.types import Json

ROLE = "arks.ai/work-load-role"
PART = "arks.ai/disaggregation-role"
REVISION = "arks.ai/revision"
"""Annotation of pods and of their set: digest of the pod templates."""
APPLIED = "arks.ai/applied"
"""Annotation of a child: digest of its desired state, so that nothing is written twice."""
SLOTS = "arks.ai/slots"
"""Annotation of pods: the engine's slots, if known."""
WITHOUT_SURGE = "arks.ai/rolled-out-in-place"
"""Annotation of a set: the revision for which no node had room beside the old one."""
Owner = ArksApplication | ArksDisaggregatedApplication
MANAGED = {"managed-by": "arks"}


@dataclass(frozen=True, slots=True)
class Templates:
    """The pods of one group."""

    leader: Json
    worker: Json
    size: int
    revision: str
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of the set, from the user."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Of the set, from the user."""


def pvc_of(fact: ModelFact) -> str:
    """The PVC that holds the model; model-manager's default is the model's name."""
    return fact.claim_name or fact.name


def path_of(fact: ModelFact) -> str:
    return (
        fact.path if fact.path.startswith(f"/{pod_templates.MODELS}/") else model_path(fact.namespace, fact.name, None)
    )


def copy_of(fact: ModelFact) -> NodeCopy | None:
    """Where nodes may have a copy of the model; None if its spec wants none."""
    return node_copy.node_copy(fact.cache_claim_name, fact.namespace, fact.name, path_of(fact))


def templates(application: ArksApplication, model: ModelFact, profiles: Profiles, grace_seconds: float) -> Templates:
    """Raises NoLaunch."""
    spec = application.spec
    launch = commands.launch_of(spec, profiles)
    group = commands.group(spec, path_of(model), launch)
    frame = PodFrame(
        pvc_of(model),
        tuple(spec.runtime_image_pull_secrets),
        grace_seconds,
        launch.profile,
        spec.runtime_image_pull_policy,
        path_of(model) if loading.reads_ahead(spec) else "",
        scheduling.pod_scheduling(spec.pod_group_policy),
        copy_of(model),
    )
    arguments = as_arguments(spec.runtime_args)
    shared = shared_memory.is_needed(launch.profile.shared_memory, spec.tensor_parallel_size, arguments)
    ours = {APPLICATION_LABEL: application.name, MODEL_LABEL: label_value(spec.model.name)}
    leader = pod_templates.template(
        "leader",
        group.leader,
        spec.instance_spec,
        frame,
        labels={**ours, ROLE: "leader"},
        serving=serving_of(launch.profile),
        shared_memory=shared,
    )
    if slots := commands.slots_of(spec):
        leader["metadata"].setdefault("annotations", {})[SLOTS] = str(slots)
    worker = leader  # LeaderWorkerSet wants a template even where there is no worker
    if group.worker is not None:
        labels = {**ours, ROLE: "worker"}
        worker = pod_templates.template(
            "worker", group.worker, spec.instance_spec, frame, labels=labels, serving=None, shared_memory=shared
        )
    return for_set(with_revision(leader, worker, _size(group, spec.group_size)), application, spec.instance_spec)


def for_set(made: Templates, owner: Owner, spec: ArksInstanceSpec | None) -> Templates:
    """With what the set itself gets from the user. `spec`: of its pods."""
    labels = scheduling.set_labels(owner.metadata.labels, spec)
    annotations = scheduling.set_annotations(owner.metadata.annotations, spec, owner.spec.pod_group_policy)
    return replace(made, labels=labels, annotations=annotations)


def _size(group: Group, desired: int) -> int:
    return desired if group.worker is not None else 1


def with_revision(leader: Json, worker: Json, size: int) -> Templates:
    revision = digest([leader, worker, size])
    return Templates(marked(leader, revision), marked(worker, revision), size, revision)


def marked(template: Json, revision: str) -> Json:
    metadata = template["metadata"]
    annotations = {**metadata.get("annotations", {}), REVISION: revision}
    return {**template, "metadata": {**metadata, "annotations": annotations}}


def leader_worker_set(
    owner: Owner,
    made: Templates,
    rollout: Rollout,
    *,
    name: str,
    part: str = "",
    without_surge: bool,
) -> Json:
    """`part`: of a disaggregated application, which one this is."""
    labels = {**made.labels, **MANAGED, APPLICATION_LABEL: owner.name} | ({PART: part} if part else {})
    annotations = {REVISION: made.revision, WITHOUT_SURGE: made.revision if without_surge else ""}
    annotations = {**made.annotations, **annotations}
    update = {"maxUnavailable": rollout.max_unavailable, "maxSurge": rollout.max_surge, "partition": 0}
    body: Json = {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": metadata(owner, name, labels) | {"annotations": annotations},
        "spec": {
            "replicas": rollout.replicas,
            "startupPolicy": "LeaderCreated",
            "rolloutStrategy": {"type": "RollingUpdate", "rollingUpdateConfiguration": update},
            "leaderWorkerTemplate": {
                "size": made.size,
                "restartPolicy": restart_policy(made.size),
                "leaderTemplate": made.leader,
                "workerTemplate": made.worker,
            },
        },
    }
    return stamped(body)


def restart_policy(size: int) -> str:
    """The nodes of a group start again together. A group of one starts again in its pod, with kubelet's growing delay:
    making the pod anew each time would have no delay at all."""
    return "RecreateGroupOnPodRestart" if size > 1 else "None"


def set_name(name: str) -> str:
    """Name of a set. LeaderWorkerSet wants a DNS-1035 label, so it cannot begin with a digit as an application can."""
    return f"arks-{name}" if name[:1].isdigit() else name


def service(
    owner: Owner,
    *,
    labels: Mapping[str, str],
    selector: Mapping[str, str],
    port: int,
) -> Json:
    ports = [{"name": "http", "port": port, "targetPort": port, "protocol": "TCP"}]
    return stamped(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata(owner, service_name(owner.name), labels),
            "spec": {"selector": dict(selector), "ports": ports},
        }
    )


def application_service(application: ArksApplication) -> Json:
    return service(
        application,
        labels={"prometheus-discovery": "true", **MANAGED, APPLICATION_LABEL: application.name},
        selector={APPLICATION_LABEL: application.name, ROLE: "leader"},
        port=HTTP_PORT,
    )


def metadata(owner: Owner, name: str, labels: Mapping[str, str]) -> Json:
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": dict(labels),
        "ownerReferences": [owner_reference(owner)],
    }


def stamped(body: Json) -> Json:
    """The object with the digest of its content as an annotation."""
    known = body["metadata"].get("annotations", {})
    return {**body, "metadata": {**body["metadata"], "annotations": {**known, APPLIED: digest(body)}}}


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
