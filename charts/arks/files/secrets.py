"""Create the Secret of an installation with random values, or add the keys that an existing one lacks.

usage: secrets.py NAMESPACE NAME   (in a pod whose service account may create, get and patch the Secret)
"""

import base64
import json
import os
import secrets
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

ACCOUNT = Path(os.environ.get("ACCOUNT_DIR", "/var/run/secrets/kubernetes.io/serviceaccount"))
KEYS = (
    *("nats-token", "redis-password", "postgresql-password", "pepper"),
    *("gateway-token", "operator-token", "node-cache-key"),
)
TRIES = 5
# Helm and Argo CD must not take the Secret for one of theirs: no label of a release.
LABELS = {"app.kubernetes.io/name": "arks", "app.kubernetes.io/part-of": "arks"}


def random_value() -> str:
    """Begins with a letter: NATS would read some tokens that begin with a digit as numbers."""
    return base64.b64encode(f"a{secrets.token_hex(24)}".encode()).decode()


def call(method: str, path: str, body: object = None) -> tuple[int, dict[str, object]]:
    """Status and object of the API server's answer."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    address = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}", "Accept": "application/json"}
    headers["Content-Type"] = "application/merge-patch+json" if method == "PATCH" else "application/json"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, headers, method=method)
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    try:
        with urllib.request.urlopen(request, timeout=20, context=context) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        print(f"{method} {path}: {error.code} {error.reason}")
        return error.code, {}


def attempt(namespace: str, name: str) -> bool:
    """Whether the Secret now exists with all keys."""
    path = f"/api/v1/namespaces/{namespace}/secrets"
    status, found = call("GET", f"{path}/{name}")
    if status == 404:
        metadata = {"name": name, "labels": LABELS, "annotations": {"argocd.argoproj.io/sync-options": "Prune=false"}}
        data = {key: random_value() for key in KEYS}
        made = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
        return call("POST", path, made)[0] == 201
    if status != 200:
        return False
    missing = {key: random_value() for key in KEYS if key not in (found.get("data") or {})}
    # With the version that was read, so that values which another Job has just added are not replaced
    version = {"resourceVersion": found["metadata"]["resourceVersion"]}
    return not missing or call("PATCH", f"{path}/{name}", {"metadata": version, "data": missing})[0] == 200


def main() -> int:
    namespace, name = sys.argv[1:]
    if any(attempt(namespace, name) for _ in range(TRIES)):
        print(f"Secret {namespace}/{name} is complete")
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
