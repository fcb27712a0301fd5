"""Gang scheduling has an effect or is refused."""

import pytest

from arks.app_deployer.domain.launch.manifests import set_name
from arks.app_deployer.domain.launch.scheduling import pod_groups_problem, pod_scheduling, policy_problem
from arks.contracts.resources import PodGroupPolicy

KUBE = PodGroupPolicy.model_validate({"kubeScheduling": {}})
VOLCANO = PodGroupPolicy.model_validate({"volcanoScheduling": {"queue": "q", "priorityClassName": "high"}})


def test_a_policy_without_effect_is_refused_for_replicas_of_several_pods() -> None:
    assert "use volcanoScheduling" in policy_problem(KUBE, 2)
    assert "" == policy_problem(KUBE, 1)
    assert "" == policy_problem(VOLCANO, 2)
    assert "" == policy_problem(None, 2)


@pytest.mark.parametrize(
    ("policy", "nodes", "groups", "has_problem"),
    [
        (VOLCANO, 2, ["app-0"], False),
        (VOLCANO, 2, [], False),
        (VOLCANO, 2, ["app-0", ""], True),
        (VOLCANO, 1, [""], False),
        (None, 2, [""], False),
    ],
)
def test_pods_outside_pod_groups_are_reported(
    policy: PodGroupPolicy | None, nodes: int, groups: list[str], has_problem: bool
) -> None:
    assert has_problem == bool(pod_groups_problem(policy, nodes, groups))


def test_volcano_schedules_the_pods() -> None:
    assert {"schedulerName": "volcano", "priorityClassName": "high"} == pod_scheduling(VOLCANO)
    assert {} == pod_scheduling(None)


@pytest.mark.parametrize(("application", "name"), [("7b-chat", "arks-7b-chat"), ("qwen-7b", "qwen-7b")])
def test_a_set_s_name_begins_with_a_letter(application: str, name: str) -> None:
    assert name == set_name(application)
