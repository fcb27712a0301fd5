"""Which file of a model engines load."""

from collections.abc import Sequence

_OTHER_FORMATS = (".safetensors", ".bin", ".pt", ".pth")


def engine_file(files: Sequence[str]) -> str:
    """The one GGUF model among a directory's files, or "" for the directory itself.

    A GGUF model in several files (`x-00001-of-00003.gguf`) is loaded by its first; projectors (`mmproj` anywhere in the
    name) are no models. Hubs also have names in capitals.
    With several models, or weights of another format besides, the application has to choose.
    """
    if any(name.endswith(_OTHER_FORMATS) for name in files):
        return ""
    models = [name for name in files if is_gguf(name) and "mmproj" not in name.rpartition("/")[2].lower()]
    first_parts = [name for name in models if _part_of(name) in {None, 1}]
    return first_parts[0] if len(first_parts) == 1 else ""


def is_gguf(name: str) -> bool:
    return name.lower().endswith(".gguf")


def _part_of(name: str) -> int | None:
    """The number of a part of a GGUF model in several files; None for a model in one file."""
    stem = name.lower().removesuffix(".gguf")
    head, _, count = stem.rpartition("-of-")
    part = head.rpartition("-")[2]
    return int(part) if count.isdigit() and part.isdigit() and head else None
