"""An API server in memory."""

import copy

import pytest

from arks.kit.errors import Conflict, Invalid
from arks.kit.key import Key
from arks.kit.kube.api import key_of_object
from arks.kit.kube.kinds import Kind
from arks.kit.types import Json


class FakeApi:
    """Objects of any kind. `to_zero`: whether HorizontalPodAutoscalers may have a minimum of 0."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, Key], Json] = {}
        self.writes: list[str] = []
        self.to_zero = True

    async def get(self, kind: Kind, key: Key) -> Json | None:
        return copy.deepcopy(self.objects.get((kind.kind, key)))

    async def create(self, kind: Kind, obj: Json) -> Json:
        self._check(obj)
        if (kind.kind, key_of_object(obj)) in self.objects:
            raise Conflict("exists")
        return self._store("create", kind, obj)

    async def merge(self, kind: Kind, key: Key, patch: Json) -> Json:
        found = self.objects[kind.kind, key]
        if patch["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
            raise Conflict("changed meanwhile")
        self._check(patch)
        metadata, spec = found["metadata"] | patch["metadata"], found["spec"] | patch["spec"]
        return self._store("merge", kind, {**found, "metadata": metadata, "spec": spec})

    async def delete(self, kind: Kind, key: Key) -> bool:
        self.writes.append("delete")
        return self.objects.pop((kind.kind, key), None) is not None

    def _check(self, obj: Json) -> None:
        if not self.to_zero and obj["spec"].get("minReplicas") == 0:
            raise Invalid("spec.minReplicas: Invalid value: 0: must be greater than or equal to 1")

    def _store(self, verb: str, kind: Kind, obj: Json) -> Json:
        self.writes.append(verb)
        obj = copy.deepcopy(obj)
        obj["metadata"]["resourceVersion"] = str(len(self.writes))
        self.objects[kind.kind, key_of_object(obj)] = obj
        return obj


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()
