import pytest

from arks.kit.errors import Conflict, Invalid, NotFound, Unavailable
from arks.kit.key import Key
from arks.kit.kube.api import WebhookUnavailable, error_of, key_of_object
from arks.kit.kube.election import may_take
from arks.kit.kube.kinds import Kind
from arks.kit.kube.ownership import belongs_to
from arks.kit.kube.resources import merge_patch
from arks.kit.types import Json


@pytest.mark.parametrize("renewed", ["1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "soon"])
def test_a_lease_may_be_taken_if_it_is_free_or_unchanged_for_its_duration(renewed: str) -> None:
    """Whatever time its holder wrote: its clock may be wrong."""

    def lease(holder: str | None) -> Json:
        return {"spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed}}

    assert may_take(None, "me", 0)
    assert may_take(lease("me"), "me", 0)
    assert may_take(lease(None), "me", 0)
    assert may_take(lease("other"), "me", 16)
    assert not may_take(lease("other"), "me", 14)
    assert may_take({"spec": {}}, "me", 0)


def test_an_object_names_its_key() -> None:
    assert Key("a", "b") == key_of_object({"metadata": {"namespace": "a", "name": "b"}})


def test_a_kind_has_a_path_in_the_core_group_and_in_other_groups() -> None:
    pods, quotas = Kind("", "v1", "Pod", "pods"), Kind("arks.ai", "v1", "ArksQuota", "arksquotas")
    assert "/api/v1/namespaces/a/pods/p/log" == pods.path("a", "p", "log")
    assert "/apis/arks.ai/v1/arksquotas" == quotas.path()


def test_a_status_code_becomes_an_error_of_its_type() -> None:
    kinds = {404: NotFound, 409: Conflict, 422: Invalid, 403: Invalid, 500: Unavailable, 429: Unavailable}
    assert kinds == {status: type(error_of(status, {"message": "m"}, "get x")) for status in kinds}


def test_a_webhook_that_does_not_answer_is_an_error_that_users_see() -> None:
    message = 'Internal error occurred: failed calling webhook "mlws.kb.io": connection refused'
    found = error_of(500, {"message": message}, "create LeaderWorkerSet default/app")
    assert (WebhookUnavailable, True) == (type(found), "mlws.kb.io" in str(found))


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1, "b": 2}, {"a": 1}, {"a": 1, "b": None}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": None, "c": 3}}),
        ({"a": {"b": 1}}, {"a": [1]}, {"a": [1]}),
        ({"a": [{"b": 1}]}, {"a": [{}]}, {"a": [{}]}),
    ],
)
def test_a_merge_patch_sets_removed_fields_to_null(before: Json, after: Json, patch: Json) -> None:
    assert patch == merge_patch(before, after)


def test_only_the_controller_owns_an_object_and_a_resource_of_the_same_name_inherits_it() -> None:
    owner = {"apiVersion": "arks.ai/v1", "kind": "ArksModel", "name": "m", "uid": "1", "controller": True}

    def owned_by(*owners: Json) -> bool:
        return belongs_to({"metadata": {"ownerReferences": list(owners)}}, owner)

    assert owned_by({**owner, "apiVersion": "arks.ai/v2", "uid": "of an earlier resource"})
    assert owned_by({**owner, "name": "b", "controller": False}, owner)
    assert not owned_by({**owner, "controller": False})
    for field in ("apiVersion", "kind", "name"):
        assert not owned_by({**owner, field: "other"})
    assert not belongs_to({"metadata": {}}, owner)
