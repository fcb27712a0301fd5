"""Build images with Docker or buildah, and write the archive that the node of a cluster imports."""

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
    """Digest of everything that the image is built from."""
    base: str
    arguments: dict[str, str] = field(default_factory=dict)

    def tagged(self, tag: str) -> str:
        return f"arks/{self.name}:{tag}"


def docker_answers() -> bool:
    if not shutil.which("docker"):
        return False
    command = ["docker", "info", "--format", "{{.ServerVersion}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Builder:
    """Docker or buildah, whose command lines are almost the same."""

    def __init__(self, program: str = "") -> None:
        """`program`: docker or buildah; empty: Docker if a daemon is running, otherwise buildah."""
        self.program = program or ("docker" if docker_answers() else "buildah")
        if not shutil.which(self.program):
            raise SystemExit(f"{self.program} is not installed: `make cluster-packages` installs buildah")

    def identity(self, tag: str) -> str:
        """Id of the image of this name; empty if there is none."""
        return run(self.program, "images", "--quiet", "--no-trunc", "--filter", f"reference={tag}", output=True).strip()

    def import_tar(self, tar: Path, tag: str) -> None:
        """Create an image with the file system of the archive."""
        if self.program == "docker":
            run("docker", "import", str(tar), tag, output=True)
            return
        container = run("buildah", "from", "--quiet", "scratch", output=True).strip()
        run("buildah", "add", "--quiet", container, str(tar), "/", output=True)
        run("buildah", "config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", container)
        run("buildah", "commit", "--quiet", "--rm", container, tag, output=True)

    def build(self, image: Image, tag: str) -> bool:
        """Build the image; False if it exists, under this tag or another one, and was built from the same inputs."""
        # A file of its own, not a label: buildah's cache ignores labels that differ only in a build argument.
        name, record = image.tagged(tag), CACHE / "built.json"
        built = json.loads(record.read_text()) if record.exists() else {}
        before, inputs = self.identity(name), digest(image.inputs, image.target, json.dumps(image.arguments))
        if before and built.get(name) == [inputs, before]:
            return False
        same = self._same(image, inputs, built)
        if same:
            run(self.program, "tag", same, name)
        else:
            self._build(image, name)
        after = self.identity(name)
        record.write_text(json.dumps(built | {name: [inputs, after]}))
        if before and before != after:
            # Layers that are in use are kept, and so is an image with another name.
            subprocess.run([self.program, "rmi", before], capture_output=True, check=False)
        return not same

    def _same(self, image: Image, inputs: str, built: dict[str, list[str]]) -> str:
        """The name of an image that was built from these inputs under another tag; empty if there is none."""
        others = [name for name in built if name.startswith(image.tagged("")) and built[name][0] == inputs]
        return next((name for name in others if self.identity(name) == built[name][1]), "")

    def _build(self, image: Image, name: str) -> None:
        command = {"docker": ["build"], "buildah": ["bud", "--layers", "--isolation", "chroot"]}[self.program]
        options = ["--quiet", "--file", str(HERE / "Dockerfile"), "--target", image.target, "--tag", name]
        given = {"BASE_IMAGE": image.base, "SERVICE": image.name, **image.arguments}
        arguments = [word for key, value in given.items() if value for word in ("--build-arg", f"{key}={value}")]
        run(self.program, *command, *options, *arguments, str(CONTEXT), output=True)

    def size_bytes(self, tag: str) -> int:
        if self.program == "docker":
            return int(run("docker", "image", "inspect", "--format", "{{.Size}}", tag, output=True))
        (listed,) = json.loads(run("buildah", "images", "--json", tag, output=True))
        number, unit = re.fullmatch(r"([\d.]+) ?(\w+)", listed["size"]).groups()  # type: ignore[union-attr]
        return int(float(number) * {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])

    def push(self, image: Image, tag: str, registry: str) -> str:
        """Push a built image to the registry; returns its name there. Raises SystemExit with the next step."""
        name, target = image.tagged(tag), f"{registry}/{image.name}:{tag}"
        pushed = (
            ["push", "--quiet", target] if self.program == "docker" else ["push", "--quiet", name, f"docker://{target}"]
        )
        if self.program == "docker":
            run("docker", "tag", name, target)
        try:
            run(self.program, *pushed, output=True)
        except subprocess.CalledProcessError:
            host = registry.partition("/")[0]
            raise SystemExit(
                f"{target} was not pushed: log in with `{self.program} login {host}`, or see above"
            ) from None
        return target

    def archive(self, images: list[Image], tag: str, file: Path) -> None:
        """Write all images into one file for `ctr images import`, shared layers once."""
        if self.program == "docker":
            run("docker", "save", "--output", str(file), *(image.tagged(tag) for image in images))
            return
        layout = file.with_suffix(".oci")
        existing = manifests(layout)
        for image in images:
            name = image.tagged(tag)
            if name not in existing or content(layout, existing[name])["config"]["digest"] != self.identity(name):
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
    """Image -> its entry in an OCI image layout. Replaced images have no name there and are left out."""
    index = layout / "index.json"
    listed = json.loads(index.read_text())["manifests"] if index.exists() else []
    named = {entry.get("annotations", {}).get(REFERENCE): entry for entry in listed}
    return {name: entry for name, entry in named.items() if name}


def keep_only(layout: Path, names: set[str]) -> None:
    """Remove all other images from the layout, and add the annotation from which containerd reads a name."""
    kept = {name: manifest for name, manifest in manifests(layout).items() if name in names}
    needed = set()
    for name, manifest in kept.items():
        manifest["annotations"]["io.containerd.image.name"] = f"docker.io/{name}"
        image = content(layout, manifest)
        needed |= {blob(layout, reference) for reference in (manifest, image["config"], *image["layers"])}
    index = layout / "index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"manifests": list(kept.values())}))
    for path in (layout / "blobs/sha256").iterdir():
        if path not in needed:
            path.unlink()


def write_archive(builder: Builder, images: list[Image], tag: str, file: Path) -> None:
    """Write the archive unless it has the same contents already."""
    contents = file.with_suffix(".contents")
    expected = digest(tag, *(image.inputs for image in images))
    if file.exists() and contents.exists() and contents.read_text() == expected:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    contents.unlink(missing_ok=True)
    builder.archive(images, tag, file)
    contents.write_text(expected)
    print(f"{file}: {file.stat().st_size / 1e6:.0f} MB")
