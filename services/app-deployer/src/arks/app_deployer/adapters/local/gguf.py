"""The GGUF file of a model: which file it is, and its sizes. Standard library only."""

from pathlib import Path

from arks.app_deployer.domain.model_file import ModelFile
from arks.kit import gguf
from arks.kit.gguf import SHARD, BadModelFile

__all__ = ["BadModelFile", "find", "read"]


def find(path: Path) -> Path:
    """The GGUF file at `path`, which is one or a directory with one (of a split model: its first part).

    Raises BadModelFile.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise BadModelFile(f"there is no file {path}")
    found = sorted(file for file in path.rglob("*") if _is_model(file.name.lower()))
    firsts = [file for file in found if (shard := SHARD.search(file.name)) is None or int(shard[1]) == 1]
    if not firsts:
        raise BadModelFile(f"no GGUF file in {path}: llama.cpp reads nothing else; choose a GGUF repository")
    if len(firsts) > 1:
        names = ", ".join(file.name for file in firsts[:4])
        raise BadModelFile(f"{len(firsts)} GGUF files in {path} ({names} …): let the model's source allow only one")
    return firsts[0]


def _is_model(name: str) -> bool:
    """Whether a file in lower case is a model and no projector of one."""
    return name.endswith(".gguf") and "mmproj" not in name


def read(path: Path) -> ModelFile:
    """Check the file (all parts of a split one) and measure it. Raises BadModelFile."""
    sizes = gguf.read(path)
    return ModelFile(path, sizes.size_bytes, sizes.kv_bytes_per_token, sizes.trained_context_tokens)
