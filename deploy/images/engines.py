"""Docker or buildah, whichever this machine has, and the archive that a cluster's node imports."""

import json
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from context import CACHE, CONTEXT, HERE, digest, run

REFERENCE = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class Image:
    name: str
    target: str
    inputs: str
    """Digest of everything that goes into it."""
    base: str
    arguments: dict[str, str] = field(default_factory=dict)

    def tagged(self, tag: str) -> str:
        return f"arks/{self.name}:{tag}"


def docker_answers() -> bool:
    if not shutil.which("docker"):
        return False
    ask = ["docker", "info", "--format", "{{.ServerVersion}}"]
    return subprocess.run(ask, capture_output=True, check=False).returncode == 0


class Builder:
    """Docker or buildah: the same words but for few."""

    def __init__(self, program: str = "") -> None:
        """`program`: docker or buildah; else Docker, where an engine answers."""
        self.program = program or ("docker" if docker_answers() else "buildah")
        if not shutil.which(self.program):
            raise SystemExit(f"there is no {self.program} here: `make cluster-packages` installs buildah")

    def identity(self, tag: str) -> str:
        """Of the image of this name; empty when there is none."""
        return run(self.program, "images", "--quiet", "--no-trunc", "--filter", f"reference={tag}", output=True).strip()

    def import_tar(self, tar: Path, tag: str) -> None:
        """An image with the file system of the archive."""
        if self.program == "docker":
            run("docker", "import", str(tar), tag, output=True)
            return
        container = run("buildah", "from", "--quiet", "scratch", output=True).strip()
        run("buildah", "add", "--quiet", container, str(tar), "/", output=True)
        run("buildah", "config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", container)
        run("buildah", "commit", "--quiet", "--rm", container, tag, output=True)

    def build(self, image: Image, tag: str) -> bool:
        """False when the image is there and was made from the same inputs."""
        # Written down beside the images: buildah takes labels that differ in an argument only out of its cache.
        name, ledger = image.tagged(tag), CACHE / "built.json"
        built = json.loads(ledger.read_text()) if ledger.exists() else {}
        before, inputs = self.identity(name), digest(image.inputs, image.target, json.dumps(image.arguments))
        if before and built.get(name) == [inputs, before]:
            return False
        own = {"docker": ["build"], "buildah": ["bud", "--layers", "--isolation", "chroot"]}[self.program]
        words = ["--quiet", "--file", str(HERE / "Dockerfile"), "--target", image.target, "--tag", name]
        given = {"BASE_IMAGE": image.base, "SERVICE": image.name, **image.arguments}
        arguments = [word for key, value in given.items() if value for word in ("--build-arg", f"{key}={value}")]
        run(self.program, *own, *words, *arguments, str(CONTEXT), output=True)
        after = self.identity(name)
        ledger.write_text(json.dumps(built | {name: [inputs, after]}))
        if before and before != after:
            # Its layers that are still in use stay, and so does the whole when it has another name.
            subprocess.run([self.program, "rmi", before], capture_output=True, check=False)
        return True

    def size_bytes(self, tag: str) -> int:
        if self.program == "docker":
            return int(run("docker", "image", "inspect", "--format", "{{.Size}}", tag, output=True))
        (listed,) = json.loads(run("buildah", "images", "--json", tag, output=True))
        number, unit = re.fullmatch(r"([\d.]+) ?(\w+)", listed["size"]).groups()  # type: ignore[union-attr]
        return int(float(number) * {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])

    def archive(self, images: list[Image], tag: str, file: Path) -> None:
        """All of them in one file for `ctr images import`, layers that they share once."""
        if self.program == "docker":
            run("docker", "save", "--output", str(file), *(image.tagged(tag) for image in images))
            return
        layout = file.with_suffix(".oci")
        there = manifests(layout)
        for image in images:
            name = image.tagged(tag)
            if name not in there or content(layout, there[name])["config"]["digest"] != self.identity(name):
                push = ("push", "--quiet", "--compression-format", "zstd", "--compression-level", "1")
                run("buildah", *push, name, f"oci:{layout}:{name}", output=True)
        keep_only(layout, {image.tagged(tag) for image in images})
        with tarfile.open(file, "w") as tar:
            tar.add(layout, ".")


def blob(layout: Path, reference: dict[str, str]) -> Path:
    return layout / "blobs" / reference["digest"].replace(":", "/")


def content(layout: Path, reference: dict[str, str]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(blob(layout, reference).read_text())
    return loaded


def manifests(layout: Path) -> dict[str, dict[str, Any]]:
    """Image -> its entry in an OCI image layout. What was pushed over stays there without a name."""
    index = layout / "index.json"
    listed = json.loads(index.read_text())["manifests"] if index.exists() else []
    named = {one.get("annotations", {}).get(REFERENCE): one for one in listed}
    return {name: one for name, one in named.items() if name}


def keep_only(layout: Path, names: set[str]) -> None:
    """Takes everything else out of the layout, and writes down the names in containerd's words."""
    kept = {name: one for name, one in manifests(layout).items() if name in names}
    needed = set()
    for name, manifest in kept.items():
        manifest["annotations"]["io.containerd.image.name"] = f"docker.io/{name}"
        image = content(layout, manifest)
        needed |= {blob(layout, one) for one in (manifest, image["config"], *image["layers"])}
    index = layout / "index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"manifests": list(kept.values())}))
    for path in (layout / "blobs/sha256").iterdir():
        if path not in needed:
            path.unlink()


def write_archive(builder: Builder, images: list[Image], tag: str, file: Path) -> None:
    contents = file.with_suffix(".contents")
    wanted = digest(tag, *(image.inputs for image in images))
    if file.exists() and contents.exists() and contents.read_text() == wanted:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    contents.unlink(missing_ok=True)
    builder.archive(images, tag, file)
    contents.write_text(wanted)
    print(f"{file}: {file.stat().st_size / 1e6:.0f} MB")
