"""Resources that tests apply, in the fewest words; the specs are documents, as a user would write them."""

from typing import Any

Document = dict[str, Any]


def model(name: str, *, repository: str = "", source: Document, namespace: str = "default", **spec: Any) -> Document:
    """`source` is the spec's: {"huggingface": {}} or {"file": {"path": ...}}."""
    return _resource("ArksModel", name, namespace, {"model": repository or name, "source": source} | spec)


def pvc(name: str, storage_class: str = "local-path") -> Document:
    """The `storage` of a model: a PVC that it makes, or uses when it is there."""
    wanted = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": storage_class,
    }
    return {"pvc": {"name": name, "spec": wanted}}


def application(
    name: str, *, model: str, replicas: int = 1, runtime: str = "llamacpp", namespace: str = "default", **spec: Any
) -> Document:
    wanted = {"replicas": replicas, "runtime": runtime, "model": {"name": model}, "instanceSpec": {}} | spec
    return _resource("ArksApplication", name, namespace, wanted)


def endpoint(name: str, namespace: str = "default") -> Document:
    return _resource("ArksEndpoint", name, namespace, {"defaultWeight": 1})


def token(name: str, key: str, *endpoints: str, namespace: str = "default", quota: str = "", **limits: int) -> Document:
    """Each endpoint with the same limits: rpm=100, tpd=5000."""
    rules = [{"type": rule, "value": value} for rule, value in limits.items()]
    extra = {"quota": {"name": quota}} if quota else {}
    qos = [{"arksEndpoint": {"name": endpoint}, "rateLimits": rules} | extra for endpoint in endpoints]
    return _resource("ArksToken", name, namespace, {"token": key, "qos": qos})


def quota(name: str, namespace: str = "default", **limits: int) -> Document:
    quotas = [{"type": kind, "value": value} for kind, value in limits.items()]
    return _resource("ArksQuota", name, namespace, {"quotas": quotas})


def _resource(kind: str, name: str, namespace: str, spec: Document) -> Document:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "arks.ai/v1", "kind": kind, "metadata": metadata, "spec": spec}
