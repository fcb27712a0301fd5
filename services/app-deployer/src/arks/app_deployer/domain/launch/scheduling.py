"""Gang scheduling, queues and topology of a set's pods. Pure."""

import json
from collections.abc import Iterable, Mapping

from arks.contracts.resources import ArksInstanceSpec, PodGroupPolicy
from arks.kit.types import Json

POD_GROUP = "scheduling.k8s.io/group-name"
"""Annotation with which LeaderWorkerSet puts a pod into Volcano's pod group."""
_VOLCANO_QUEUE = "scheduling.volcano.sh/queue-name"
_KUEUE = "kueue.x-k8s.io/"
_TOPOLOGY = frozenset(
    {
        "leaderworkerset.sigs.k8s.io/exclusive-topology",
        "leaderworkerset.sigs.k8s.io/subgroup-exclusive-topology",
    }
)


def policy_problem(policy: PodGroupPolicy | None, nodes: int) -> str:
    """Why the policy would have no effect; empty if it has one, or a replica is one pod and needs none."""
    if policy is None or policy.kube_scheduling is None or nodes == 1:
        return ""
    return (
        "podGroupPolicy.kubeScheduling has no effect, because LeaderWorkerSet makes pod groups for Volcano only: "
        "use volcanoScheduling, or leave podGroupPolicy out"
    )


def pod_groups_problem(policy: PodGroupPolicy | None, nodes: int, pod_groups: Iterable[str]) -> str:
    """Why pods that exist are not scheduled together; empty if they are. `pod_groups`: of each pod, empty for none."""
    wanted = policy is not None and policy.volcano_scheduling is not None and nodes > 1
    return _NO_POD_GROUPS if wanted and not all(pod_groups) else ""


_NO_POD_GROUPS = (
    "podGroupPolicy.volcanoScheduling has no effect: LeaderWorkerSet's manager makes no pod groups; set "
    "gangSchedulingManagement.schedulerProvider to volcano in its configuration"
)


def pod_scheduling(policy: PodGroupPolicy | None) -> Json:
    """Fields of pods. LeaderWorkerSet makes the pod groups, but does not choose the scheduler."""
    if policy is None or policy.volcano_scheduling is None:
        return {}
    priority = policy.volcano_scheduling.priority_class_name
    return {"schedulerName": "volcano"} | ({"priorityClassName": priority} if priority else {})


def set_labels(owner: Mapping[str, str], spec: ArksInstanceSpec | None) -> dict[str, str]:
    """Labels of the application and its instanceSpec that Kueue reads at the set."""
    return _of_kueue(owner) | (_of_kueue(spec.labels) if spec is not None else {})


def set_annotations(
    owner: Mapping[str, str], spec: ArksInstanceSpec | None, policy: PodGroupPolicy | None
) -> dict[str, str]:
    """Annotations that Kueue and LeaderWorkerSet read at the set."""
    given = {**owner, **(spec.annotations if spec is not None else {})}
    found = _of_kueue(given) | {name: value for name, value in given.items() if name in _TOPOLOGY}
    if policy is None:
        return found
    found["arks.ai/pod-group-policy"] = json.dumps(policy.to_dict(), sort_keys=True)
    if policy.volcano_scheduling is not None and policy.volcano_scheduling.queue:
        found[_VOLCANO_QUEUE] = policy.volcano_scheduling.queue
    return found


def _of_kueue(given: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in given.items() if name.startswith(_KUEUE)}
