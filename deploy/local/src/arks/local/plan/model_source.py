"""The ArksModel of a source that is written as a URL. Pure."""

import re
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from arks.local.plan.serve import MAX_NAME_CHARACTERS, NotServable

FORMS = (
    "hf:OWNER/NAME[@REVISION], ms:OWNER/NAME[@REVISION], s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, "
    "oci://REGISTRY/REPOSITORY:TAG, https://HOST/FILE, or the path of a file"
)
_SECRETS = {"huggingface": "tokenSecretRef"}
"""Names of the field that names the Secret, where it is not secretRef."""

Manifest = dict[str, Any]


def source_of(url: str) -> tuple[str, Manifest]:
    """The model's name at its source, and `spec.source`. Raises NotServable."""
    scheme, separator, rest = url.partition(":")
    path = rest.removeprefix("//").strip("/")
    if not separator or not path:
        return _file(url)
    match scheme:
        case "hf" | "huggingface":
            return _hub("huggingface", path)
        case "ms" | "modelscope":
            return _hub("modelscope", path)
        case "s3" | "gs":
            return PurePosixPath(path).name, {scheme: {"url": f"{scheme}://{path}"}}
        case "oci":
            return PurePosixPath(re.split("[:@]", path.partition("/")[2])[0]).name, {"oci": {"reference": path}}
        case "http" | "https":
            return PurePosixPath(unquote(urlsplit(url).path)).name, {"http": {"files": [{"url": url}]}}
    raise NotServable(f"{url!r} is no source of models", f"write {FORMS}")


def _hub(kind: str, path: str) -> tuple[str, Manifest]:
    repository, _, revision = path.partition("@")
    return repository, {kind: {"revision": revision} if revision else {}}


def _file(path: str) -> tuple[str, Manifest]:
    if not path.startswith("/"):
        raise NotServable(f"{path!r} is no source of models", f"write {FORMS}")
    return PurePosixPath(path).stem, {"file": {"path": path}}


def manifest(
    url: str, name: str | None, *, namespace: str, secret: str | None, allow: list[str], endpoint: str | None
) -> Manifest:
    """The ArksModel. `secret`: holds the source's credentials. Raises NotServable."""
    model, source = source_of(url)
    [(kind, options)] = source.items()
    if secret is not None:
        options[_SECRETS.get(kind, "secretRef")] = {"name": secret}
    if allow:
        options["allowPatterns"] = allow
    if endpoint is not None:
        options["endpoint"] = endpoint
    model = re.sub(r"[^A-Za-z0-9._/-]", "-", model).lstrip("._/-") or "model"
    metadata = {"name": name or _name_of(model), "namespace": namespace}
    spec = {"model": model, "source": source}
    return {"apiVersion": "arks.ai/v1", "kind": "ArksModel", "metadata": metadata, "spec": spec}


def imported(path: str, name: str | None, *, namespace: str) -> Manifest:
    """The ArksModel of a file that was copied into Arks' storage: it has no source. Raises NotServable."""
    if not path.lower().endswith(".gguf"):
        raise NotServable(f"{path} is not a GGUF file", "only GGUF files can be imported")
    whole = manifest(path, name, namespace=namespace, secret=None, allow=[], endpoint=None)
    return whole | {"spec": {"model": whole["spec"]["model"]}}


def _name_of(model: str) -> str:
    """`Qwen/Qwen2.5-0.5B-Instruct-GGUF` gives qwen2-5-0-5b-instruct."""
    base = model.rpartition("/")[2].removesuffix(".gguf").removesuffix(".safetensors")
    plain = re.sub(r"-gguf$", "", re.sub(r"[^a-z0-9]+", "-", base.lower()).strip("-"))
    short = plain[:MAX_NAME_CHARACTERS].strip("-")
    return short if short[:1].isalpha() else f"model-{short}".strip("-")[:MAX_NAME_CHARACTERS]
