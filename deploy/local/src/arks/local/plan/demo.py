"""The demo of `arks up`: a real small model behind one endpoint, and one API key with generous limits. Pure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAMESPACE = "default"
MODEL = "smollm2"
NAME = "demo"
"""Name of the demo's token and quota."""


def manifests(model_file: Path, token_hash: str) -> list[Mapping[str, Any]]:
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
        _resource(
            "ArksToken",
            NAME,
            {
                "tokenHash": token_hash,
                "qos": [
                    {
                        "arksEndpoint": {"name": MODEL},
                        "rateLimits": [{"type": "rpm", "value": 1_000_000}, {"type": "tpm", "value": 1_000_000_000}],
                        "quota": {"name": NAME},
                    }
                ],
            },
        ),
    ]


def curl(url: str, key_file: Path) -> str:
    """A command line that sends a first request; it reads the key from its file."""
    body = f'{{"model": "{MODEL}", "messages": [{{"role": "user", "content": "Hello, who are you?"}}]}}'
    return f"""\
curl {url}/chat/completions \\
  -H "Authorization: Bearer $(cat {key_file})" \\
  -H "Content-Type: application/json" \\
  -d '{body}'"""


def _resource(kind: str, name: str, spec: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "arks.ai/v1", "kind": kind, "metadata": metadata, "spec": spec}
