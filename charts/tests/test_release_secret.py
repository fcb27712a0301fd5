"""The Secret of a release: who creates it, who may read it, and what uses it."""

from collections.abc import Callable
from typing import Any


def test_helm_creates_no_secret_without_a_cluster(refusal: Callable[..., str]) -> None:
    """Each rendering would replace the passwords of a running installation."""
    error = refusal({}, "--set", "secrets.generate=helm")
    assert "Helm renders without a cluster" in error
    for way in ("secrets.existingSecret", "secrets.generate: job", "--dry-run=server"):
        assert way in error


def test_no_rendering_differs_from_another(default: Any, render: Any) -> None:
    """Argo CD compares renderings, and `kubectl apply` applies each."""
    assert default.objects == render().objects


def test_the_job_may_touch_no_other_secret(default: Any) -> None:
    create, rest = default.named("Role", "arks-secrets")["rules"]
    assert (["create"], ["arks-secrets"], ["get", "patch"]) == (create["verbs"], rest["resourceNames"], rest["verbs"])


def test_the_job_has_another_name_when_its_content_changes(default: Any, render: Any) -> None:
    """A Job cannot be changed."""
    (before,) = default.of("Job")
    for changed in ({"image": {"tag": "next"}}, {"defaults": {"nodeSelector": {"pool": "a"}}}, {"runAsUser": 7}):
        (after,) = render(changed).of("Job")
        assert before["metadata"]["name"] != after["metadata"]["name"]


def test_the_job_runs_before_everything_else_and_no_network_policy_of_a_release_selects_it(default: Any) -> None:
    (job,) = default.of("Job")
    assert "pre-install,pre-upgrade" == job["metadata"]["annotations"]["helm.sh/hook"]
    labels = job["spec"]["template"]["metadata"]["labels"].items()
    selecting = [
        found["metadata"]["name"]
        for found in default.of("NetworkPolicy")
        if found["spec"]["podSelector"]["matchLabels"].items() <= labels
    ]
    assert ["arks-secrets"] == selecting


def test_uninstalling_keeps_volumes(default: Any) -> None:
    claims = {found["metadata"]["name"]: found["spec"]["volumeClaimTemplates"] for found in default.of("StatefulSet")}
    assert {"arks-nats", "arks-postgresql", "arks-redis"} == {name for name, claim in claims.items() if claim}


def test_an_existing_secret_is_used_and_none_is_created(render: Any) -> None:
    rendered = render({"secrets": {"existingSecret": "ours"}})
    assert [] == [*rendered.of("Secret"), *rendered.of("Job")]
    named = {
        source["secret"]["name"]
        for pod in rendered.pods().values()
        for volume in pod["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
    }
    assert {"ours"} == named


def test_a_server_without_a_password_needs_no_secret(render: Any) -> None:
    rendered = render({"nats": {"external": {"url": "nats://nats:4222"}}})
    assert "ARKS_NATS_TOKEN_FILE" not in rendered.environment("metrics")
    volumes = {volume["name"]: volume for volume in rendered.pods()["arks-metrics"]["volumes"]}
    assert {"name": "secrets", "emptyDir": {}} == volumes["secrets"]
