"""The demo of `arks up`: a real small model behind one endpoint, and one API key with generous limits. Pure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAMESPACE = "default"
MODEL = "smollm2"
NAME = "demo"
"""Name of the demo's token and quota."""

Manifest = Mapping[str, Any]


def manifests(model_file: Path, token_hash: str) -> list[Manifest]:
    """The demo's resources, in the order in which they are applied."""
    return [
        _resource(
            "ArksModel",
            MODEL,
            {"model": "HuggingFaceTB/SmolLM2-135M-Instruct", "source": {"file": {"path": str(model_file)}}},
        ),
        _resource(
            "ArksApplication",
            MODEL,
            {"replicas": 1, "runtime": "llamacpp", "model": {"name": MODEL}, "instanceSpec": {}},
        ),
        _resource("ArksEndpoint", MODEL, {"defaultWeight": 1}),
        _resource("ArksQuota", NAME, {"quotas": [{"type": "total", "value": 1_000_000_000}]}),
        token(
            token_hash,
            [
                {
                    "arksEndpoint": {"name": MODEL},
                    "rateLimits": [{"type": "rpm", "value": 1_000_000}, {"type": "tpm", "value": 1_000_000_000}],
                    "quota": {"name": NAME},
                }
            ],
        ),
    ]


def token(token_hash: str, permissions: list[Manifest]) -> Manifest:
    """The ArksToken of the key in `demo-key`."""
    return _resource("ArksToken", NAME, {"tokenHash": token_hash, "qos": permissions})


def to_apply(desired: Manifest, existing: Manifest | None) -> Manifest | None:
    """What `arks up` applies; None for a resource that exists: what its user changed is theirs.

    Two fields belong to this machine and not to the user, and follow it: the hash of the key in `demo-key`, and the
    model's path in the installed package.
    """
    if existing is None:
        return desired
    spec = _of_this_machine(desired, existing["spec"])
    return None if spec == existing["spec"] else {**desired, "spec": spec}


def _of_this_machine(desired: Manifest, spec: Manifest) -> Manifest:
    if desired["kind"] == "ArksToken" and "tokenHash" in spec:
        return {**spec, "tokenHash": desired["spec"]["tokenHash"]}
    if desired["kind"] == "ArksModel":
        path = desired["spec"]["source"]["file"]["path"]
        known = ((spec.get("source") or {}).get("file") or {}).get("path", "")
        if Path(known).name == Path(path).name:
            return {**spec, "source": desired["spec"]["source"]}
    return spec


def is_changed(desired: Manifest, existing: Manifest | None) -> bool:
    """Whether the user's spec differs from the demo's. More permissions are no difference: `arks run` adds them."""
    if existing is None:
        return False
    if desired["kind"] == "ArksToken":
        return any(permission not in existing["spec"]["qos"] for permission in desired["spec"]["qos"])
    return any(existing["spec"].get(field) != value for field, value in desired["spec"].items())


def answers(application: Manifest | None) -> bool:
    """Whether the demo's application is meant to answer: not if its user has scaled it to 0."""
    return application is None or application["spec"].get("replicas", 1) > 0


def curl(url: str, key_file: Path) -> str:
    """A command line that sends a first request; it reads the key from its file."""
    body = f'{{"model": "{MODEL}",\n       "messages": [{{"role": "user", "content": "Hello, who are you?"}}]}}'
    return f"""\
curl {url}/chat/completions \\
  -H "Authorization: Bearer $(cat {key_file})" \\
  -d '{body}'"""


def _resource(kind: str, name: str, spec: Mapping[str, Any]) -> Manifest:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "arks.ai/v1", "kind": kind, "metadata": metadata, "spec": spec}
