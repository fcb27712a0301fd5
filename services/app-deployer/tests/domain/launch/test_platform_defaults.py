from arks.app_deployer.adapters.profiles import read_profiles
from arks.app_deployer.domain.launch import manifests, platform_defaults
from arks.app_deployer.domain.launch.disaggregated_manifests import router_deployment
from arks.contracts.resources import ArksApplication, ArksDisaggregatedApplication
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.kube.pod_defaults import NO_DEFAULTS, PodDefaults
from arks.kit.types import Json

PROFILES = read_profiles()
PRIVATE = PodDefaults.model_validate({"imagePullSecrets": [{"name": "registry"}], "runtimeClassName": "nvidia"})
MODEL = ModelFact(namespace="team-a", name="m", ready=True, path="/models/models/team-a/m")


def application(runtime: str = "vllm", size: int = 2) -> ArksApplication:
    spec = {"runtime": runtime, "model": {"name": "m"}, "replicas": 1, "size": size, "instanceSpec": {}}
    return ArksApplication.from_dict({"metadata": {"name": "chat", "namespace": "team-a"}, "spec": spec})


def router() -> Json:
    workload = {"replicas": 1, "instanceSpec": {}}
    spec = {"runtime": "sglang", "model": {"name": "m"}, "router": workload, "prefill": workload, "decode": workload}
    owner = {"metadata": {"name": "pd", "namespace": "team-a"}, "spec": spec}
    return router_deployment(ArksDisaggregatedApplication.from_dict(owner), MODEL, PROFILES, 600.0)


def private(template: Json) -> bool:
    pod = template["spec"]
    return bool([{"name": "registry"}] == pod["imagePullSecrets"] and pod["runtimeClassName"] == "nvidia")


def test_leaders_and_workers_have_the_defaults_and_a_revision_of_their_own() -> None:
    bare = manifests.templates(application(), MODEL, PROFILES, 600.0)
    made = platform_defaults.in_templates(bare, PRIVATE)
    assert private(made.leader)
    assert private(made.worker)
    assert (bare.size, False) == (made.size, bare.revision == made.revision)
    for template in (made.leader, made.worker):
        assert made.revision == template["metadata"]["annotations"][manifests.REVISION]


def test_other_defaults_are_another_revision_and_equal_ones_the_same() -> None:
    bare = manifests.templates(application(), MODEL, PROFILES, 600.0)
    other = PodDefaults.model_validate({"imagePullSecrets": [{"name": "other"}]})
    revisions = [platform_defaults.in_templates(bare, defaults).revision for defaults in (PRIVATE, PRIVATE, other)]
    assert (revisions[0], True) == (revisions[1], revisions[0] != revisions[2])


def test_without_defaults_nothing_changes() -> None:
    bare = manifests.templates(application(), MODEL, PROFILES, 600.0)
    assert bare == platform_defaults.in_templates(bare, NO_DEFAULTS)
    assert router() == platform_defaults.in_deployment(router(), NO_DEFAULTS)


def test_a_router_has_the_defaults_and_is_written_when_they_change() -> None:
    bare, made = router(), platform_defaults.in_deployment(router(), PRIVATE)
    annotations = made["metadata"]["annotations"]
    assert private(made["spec"]["template"])
    assert annotations[manifests.REVISION] == made["spec"]["template"]["metadata"]["annotations"][manifests.REVISION]
    for name in (manifests.REVISION, manifests.APPLIED):
        assert annotations[name] != bare["metadata"]["annotations"][name]
