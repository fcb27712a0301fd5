from typing import Any

from arks.kit.kube.managed_fields import LostField, as_applied, fields_of_others, lost_fields, our_fields
from arks.kit.types import Json

US = "arks-test"
DESIRED = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "s", "namespace": "default", "labels": {"a": "1"}},
    "spec": {"selector": {"app": "x"}, "ports": [{"name": "http", "port": 80}], "note": None},
}
WHOLE: Json = {
    "f:metadata": {"f:labels": {"f:a": {}}},
    "f:spec": {
        "f:selector": {},
        "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}}},
    },
}


def entry(manager: str, fields: Json, operation: str = "Apply", **more: Any) -> Json:
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields, **more}


def stored(*entries: Json) -> Json:
    return {"metadata": {"name": "s", "managedFields": list(entries)}}


def lost(obj: Json, desired: Json = DESIRED) -> tuple[LostField, ...]:
    return lost_fields(desired, our_fields(obj, US), fields_of_others(obj, US))


def without(*path: str) -> Json:
    def cut(fields: Json, names: tuple[str, ...]) -> Json:
        head, *rest = names
        if not rest:
            return {name: part for name, part in fields.items() if name != head}
        parts = cut(fields[head], tuple(rest))
        return fields | {head: parts} if parts else {name: part for name, part in fields.items() if name != head}

    return cut(WHOLE, path)


def test_nothing_is_lost_while_all_fields_are_ours() -> None:
    assert () == lost(stored(entry(US, WHOLE)))


def test_fields_of_a_creation_and_of_an_apply_count_together() -> None:
    first = without("f:spec", "f:selector")
    second: Json = {"f:spec": {"f:selector": {}}}
    assert () == lost(stored(entry(US, first, "Update"), entry(US, second)))


def test_a_changed_field_names_its_writer() -> None:
    other: Json = {"f:spec": {"f:selector": {}, "f:type": {}}}
    obj = stored(entry(US, without("f:spec", "f:selector")), entry("kubectl-edit", other, "Update"))
    assert (LostField("spec.selector", "kubectl-edit"),) == lost(obj)


def test_a_removed_part_has_no_writer() -> None:
    obj = stored(entry(US, without("f:metadata", "f:labels", "f:a")))
    assert (LostField("metadata", ""),) == lost(obj)


def test_an_item_of_a_list_is_found_by_its_keys_and_defaults() -> None:
    port = 'k:{"port":80,"protocol":"TCP"}'
    other: Json = {"f:spec": {"f:ports": {port: {"f:name": {}}}}}
    obj = stored(entry(US, without("f:spec", "f:ports", port, "f:name")), entry("k9s", other, "Update"))
    assert (LostField("spec.ports[http].name", "k9s"),) == lost(obj)


def test_fields_of_the_status_and_of_other_writers_do_not_matter() -> None:
    status = entry("lws", {"f:status": {"f:replicas": {}}}, "Update", subresource="status")
    assert () == lost(stored(entry(US, WHOLE), status, entry("x", {"f:spec": {"f:type": {}}}, "Update")))


def test_a_change_by_the_scale_subresource_is_a_change() -> None:
    desired = {"metadata": {"name": "s"}, "spec": {"replicas": 1}}
    scaled = entry("kubectl", {"f:spec": {"f:replicas": {}}}, "Update", subresource="scale")
    obj = stored(entry(US, {"f:spec": {".": {}}}), scaled)
    assert (LostField("spec.replicas", "kubectl"),) == lost(obj, desired)


def test_without_managed_fields_every_field_is_lost() -> None:
    assert {"metadata", "spec"} == {field.path.split(".")[0] for field in lost({"metadata": {"name": "s"}})}


def test_a_creation_counts_as_an_apply_and_other_entries_stay() -> None:
    status = entry(US, {"f:status": {}}, "Update", subresource="status")
    other = entry("x", {"f:spec": {"f:type": {}}}, "Update")
    first: Json = {"f:spec": {"f:a": {}}}
    second: Json = {"f:spec": {"f:b": {}}}
    obj = stored(entry(US, first, "Update"), other, entry(US, second), status)
    assert [entry(US, {"f:spec": {"f:a": {}, "f:b": {}}}), other, status] == as_applied(obj, US)
    applied = stored(entry(US, WHOLE), other)
    assert applied["metadata"]["managedFields"] == as_applied(applied, US)
