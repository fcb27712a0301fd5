"""The manifests of `arks run`: one model with its application and endpoint, under one name. Pure."""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_NAME_CHARACTERS = 46
"""Of an application."""
_PREFERRED = ("q4_k_m", "q4_k_s", "q5_k_m", "q4_0", "q8_0", "q6_k", "q5_0", "q3_k_m", "q2_k", "f16", "bf16")
"""Quantisations, the best compromise of size and quality first."""
_SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)", re.IGNORECASE)
_REPOSITORY = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user of `arks run` named: a repository with an optional file, or a local file."""

    repository: str = ""
    pattern: str = ""
    """Of files in the repository; empty: the best one is chosen."""
    file: str = ""
    """Absolute path."""


class NotServable(Exception):
    """The argument names nothing that can be served; the message has the reason and the second part the next step."""

    def __init__(self, message: str, next_step: str) -> None:
        super().__init__(message)
        self.next_step = next_step


def parse(argument: str, pattern: str = "") -> Wish:
    """`REPO`, `REPO:FILE`, a URL of the hub, or the path of a GGUF file. Raises NotServable."""
    path = Path(argument).expanduser()
    if path.exists() or argument.startswith(("/", "./", "../", "~")) or argument.lower().endswith(".gguf"):
        return Wish(file=_checked(path))
    repository, _, chosen = (
        argument.removeprefix("https://").removeprefix("huggingface.co/").removeprefix("hf.co/").partition(":")
    )
    if not _REPOSITORY.match(repository.rstrip("/")):
        raise NotServable(
            f"{argument!r} is neither a repository nor a file",
            "write OWNER/NAME as on huggingface.co, as in Qwen/Qwen2.5-0.5B-Instruct-GGUF, or the path of a GGUF file",
        )
    return Wish(repository.rstrip("/"), pattern or chosen)


def _checked(path: Path) -> str:
    if path.is_dir():
        raise NotServable(f"{path} is a directory", "name the GGUF file in it")
    if not path.exists():
        raise NotServable(f"{path} does not exist", "name an existing GGUF file, or a repository as OWNER/NAME")
    with path.open("rb") as opened:
        if opened.read(4) != b"GGUF":
            raise NotServable(
                f"{path} is not a GGUF file", "convert it, or download its GGUF version: `arks run OWNER/NAME`"
            )
    return str(path.resolve())


def name_of(wish: Wish) -> str:
    """A name for all resources: `Qwen/Qwen2.5-0.5B-Instruct-GGUF` gives qwen2-5-0-5b-instruct."""
    base = wish.repository.rpartition("/")[2] if wish.repository else Path(wish.file).stem
    plain = re.sub(r"[^a-z0-9]+", "-", base.lower()).strip("-")
    short = re.sub(r"-gguf(-|$)", r"\1", plain)[:MAX_NAME_CHARACTERS].strip("-")
    return short if short[:1].isalpha() else f"model-{short}".strip("-")[:MAX_NAME_CHARACTERS]


def choose_pattern(files: Sequence[str], wanted: str) -> str:
    """The pattern of the files to download. `wanted`: a pattern, a file, or a part of its name. Raises NotServable."""
    models = [file for file in files if file.lower().endswith(".gguf") and "mmproj" not in file.lower()]
    if not models:
        raise NotServable(
            "the repository has no GGUF file",
            "without a GPU Arks runs GGUF files: look for a repository of the same model whose name ends in -GGUF",
        )
    if wanted:
        matching = [file for file in models if _matches(file, wanted)]
        if not matching:
            raise NotServable(f"no GGUF file of the repository matches {wanted!r}", f"files: {_listed(models)}")
        return _as_pattern(matching[0])
    for quantisation in _PREFERRED:
        for file in models:
            if quantisation in file.lower():
                return _as_pattern(file)
    return _as_pattern(models[0])


def _matches(file: str, wanted: str) -> bool:
    lower = wanted.lower()
    return fnmatch.fnmatch(file.lower(), lower) or (not any(sign in lower for sign in "*?[") and lower in file.lower())


def _as_pattern(file: str) -> str:
    """The file itself, or all shards of it."""
    return _SHARD.sub("-*", file)


def _listed(files: Sequence[str]) -> str:
    more = f" and {len(files) - 8} more" if len(files) > 8 else ""
    return ", ".join(files[:8]) + more


def manifests(
    wish: Wish, name: str, *, runtime: str, hub: str | None, token_secret: str | None, namespace: str
) -> list[Manifest]:
    """Model, application and endpoint, in the order in which they are applied.

    `hub`: its URL, unless it is Hugging Face.
    """
    if wish.file:
        model, source = Path(wish.file).stem, {"file": {"path": wish.file}}
    else:
        options: dict[str, Any] = {"allowPatterns": [wish.pattern]} if wish.pattern else {}
        options |= {"endpoint": hub} if hub else {}
        options |= {"tokenSecretRef": {"name": token_secret}} if token_secret else {}
        model, source = wish.repository, {"huggingface": options}
    model = re.sub(r"[^A-Za-z0-9._/-]", "-", model).lstrip("._/-") or name
    return [
        _resource("ArksModel", name, namespace, {"model": model, "source": source}),
        _resource(
            "ArksApplication",
            name,
            namespace,
            {"replicas": 1, "runtime": runtime, "model": {"name": name}, "instanceSpec": {}},
        ),
        _resource("ArksEndpoint", name, namespace, {"defaultWeight": 1}),
    ]


def with_permission(token: Mapping[str, Any], endpoint: str) -> Manifest | None:
    """The token's spec with permission to use the endpoint; None if it has it already."""
    qos = list(token["spec"].get("qos", []))
    if any(entry["arksEndpoint"]["name"] == endpoint for entry in qos):
        return None
    return {**token["spec"], "qos": [*qos, {"arksEndpoint": {"name": endpoint}}]}


def _resource(kind: str, name: str, namespace: str, spec: Manifest) -> Manifest:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "arks.ai/v1", "kind": kind, "metadata": metadata, "spec": spec}
