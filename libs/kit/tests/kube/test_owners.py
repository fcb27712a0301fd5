"""The owner checks without an API server: what is written, and in which version (test_ownership.py has a real one)."""

from typing import cast

import pytest

from arks.kit.errors import Conflict, NotFound
from arks.kit.key import Key
from arks.kit.kube import ownership
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import Kind
from arks.kit.kube.ownership import NameConflict
from arks.kit.types import Json

SERVICE = Kind("", "v1", "Service", "services")
US = "arks-test"
OWNER: Json = {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "name": "app", "uid": "u1", "controller": True}


def service(*owners: Json, **metadata: object) -> Json:
    return {"metadata": {"namespace": "team", "name": "s", "ownerReferences": list(owners), **metadata}, "spec": {}}


class Api:
    """Notes what is written."""

    field_manager = US

    def __init__(self, found: Json | None = None) -> None:
        self.found = found
        self.written: list[tuple[str, Json | list[Json]]] = []

    async def get(self, kind: Kind, key: Key) -> Json | None:
        assert (SERVICE, Key("team", "s")) == (kind, key)
        return self.found

    async def create(self, kind: Kind, obj: Json) -> Json:
        self.written.append(("create", obj))
        return obj

    async def apply(self, kind: Kind, obj: Json) -> Json:
        self.written.append(("apply", obj))
        return obj

    async def json_patch(self, kind: Kind, key: Key, operations: list[Json]) -> Json:
        self.written.append(("patch", operations))
        if self.found is None:
            raise NotFound("services s")
        return {"metadata": self.found["metadata"] | {"resourceVersion": "8"}}


@pytest.mark.parametrize(
    ("owners", "whose"),
    [
        ((), "has no owner"),
        ((OWNER | {"name": "other"},), "belongs to ArksApplication other"),
        ((OWNER | {"kind": "ArksModel"},), "belongs to ArksModel app"),
        ((OWNER | {"apiVersion": "apps/v1"},), "belongs to ArksApplication app"),
        ((OWNER | {"controller": False},), "has no owner"),
    ],
)
async def test_an_object_of_another_owner_is_a_conflict_that_names_both(owners: tuple[Json, ...], whose: str) -> None:
    api = cast("KubeApi", Api(service(*owners)))
    with pytest.raises(NameConflict, match=f"^Service s exists and {whose}, .* ArksApplication app another name$"):
        await ownership.find(api, SERVICE, service(OWNER))


@pytest.mark.parametrize("owner", [OWNER, OWNER | {"uid": "u0"}, OWNER | {"apiVersion": "arks.ai/v2"}])
async def test_our_object_is_found_though_an_earlier_life_or_version_of_its_resource_made_it(owner: Json) -> None:
    ours = service(OWNER | {"name": "other", "controller": False}, owner)
    assert ours == await ownership.find(cast("KubeApi", Api(ours)), SERVICE, service(OWNER))


async def test_an_object_that_is_missing_is_created_never_applied() -> None:
    api = Api()
    assert None is await ownership.find(cast("KubeApi", api), SERVICE, service(OWNER))
    await ownership.write(cast("KubeApi", api), SERVICE, service(OWNER), None)
    assert [("create", service(OWNER))] == api.written


@pytest.mark.parametrize("entries", [{}, {"managedFields": [{"manager": US, "operation": "Apply", "fieldsV1": {}}]}])
async def test_an_object_is_changed_only_in_the_version_that_was_checked(entries: Json) -> None:
    api, found = Api(), service(OWNER, uid="s1", resourceVersion="7", **entries)
    await ownership.write(cast("KubeApi", api), SERVICE, service(OWNER), found)
    assert [("apply", service(OWNER, uid="s1", resourceVersion="7"))] == api.written


async def test_fields_of_a_creation_become_those_of_an_apply_first_in_the_same_version() -> None:
    created = {"manager": US, "operation": "Update", "fieldsV1": {"f:spec": {}}}
    found = service(OWNER, uid="s1", resourceVersion="7", managedFields=[created])
    api = Api(found)
    await ownership.write(cast("KubeApi", api), SERVICE, service(OWNER), found)
    patch = [
        {"op": "replace", "path": "/metadata/managedFields", "value": [created | {"operation": "Apply"}]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
    ]
    assert [("patch", patch), ("apply", service(OWNER, uid="s1", resourceVersion="8"))] == api.written


async def test_an_object_that_was_deleted_meanwhile_is_a_conflict_and_not_made_again() -> None:
    created = {"manager": US, "operation": "Update", "fieldsV1": {"f:spec": {}}}
    api, found = Api(), service(OWNER, uid="s1", resourceVersion="7", managedFields=[created])
    with pytest.raises(Conflict, match="deleted meanwhile"):
        await ownership.write(cast("KubeApi", api), SERVICE, service(OWNER), found)
    assert ["patch"] == [how for how, _ in api.written]
