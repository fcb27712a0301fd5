#!/usr/bin/env python3
"""Writes a container image as the archive that `ctr images import` and `docker load` read.

usage: image.py NAME:TAG OUT.tar [--layer FILE.tar]... [--tree DIR]... [--file SOURCE=TARGET]... [--user UID:GID]
                [--env NAME=VALUE]... [--workdir DIR] [--entrypoint WORD]...

Order of the layers, from the lowest: each --layer as it is, each --tree packed, all --file together.
"""

import argparse
import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("archive", type=Path)
    parser.add_argument("--layer", action="append", type=Path, default=[])
    parser.add_argument("--tree", action="append", type=Path, default=[])
    parser.add_argument("--file", action="append", default=[])
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("--entrypoint", action="append", default=[])
    parser.add_argument("--user", default="")
    parser.add_argument("--workdir", default="")
    return parser.parse_args()


def owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """The entry without names and times, so that archives are the same on every machine."""
    entry.uid = entry.gid = 0
    entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def pack_tree(tree: Path, layer: Path) -> Path:
    same = ["--numeric-owner", "--owner=0", "--group=0", "--sort=name", "--mtime=@0"]
    subprocess.run(["tar", "-C", str(tree), *same, "-cf", str(layer), "."], check=True)
    return layer


def pack_files(pairs: list[str], layer: Path) -> Path:
    with tarfile.open(layer, "w") as tar:
        for pair in pairs:
            source, _, target = pair.partition("=")
            tar.add(source, target.lstrip("/"), filter=owned_by_root)
    return layer


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def add_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def write(options: argparse.Namespace, layers: list[Path]) -> None:
    digests = [digest(layer) for layer in layers]
    runtime = {
        "User": options.user,
        "WorkingDir": options.workdir,
        "Entrypoint": options.entrypoint or None,
        "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", *options.env],
    }
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": runtime,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}" for layer in digests]},
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    names = [f"{layer}/layer.tar" for layer in digests]
    manifest = json.dumps([{"Config": config_name, "RepoTags": [options.name], "Layers": names}]).encode()
    with tarfile.open(options.archive, "w") as tar:
        add_bytes(tar, config_name, config)
        add_bytes(tar, "manifest.json", manifest)
        for layer, name in zip(layers, names, strict=True):
            tar.add(layer, name, filter=owned_by_root)


def main() -> None:
    options = arguments()
    options.archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.archive.parent) as scratch:
        layers = list(options.layer)
        layers += [pack_tree(tree, Path(scratch) / f"tree{number}.tar") for number, tree in enumerate(options.tree)]
        if options.file:
            layers.append(pack_files(options.file, Path(scratch) / "files.tar"))
        write(options, layers)


if __name__ == "__main__":
    main()
