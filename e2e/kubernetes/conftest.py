"""One cluster with Arks installed for all journeys. It keeps running: `make e2e` stops it."""

import asyncio
import fcntl
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from arks.kit.testing.helm import helm, helm_program
from e2e.support.clients import ClientOf, clients
from e2e.support.cluster import Cluster
from e2e.support.hub import SharedHub, connected
from e2e.support.tenant import SYSTEM, Tenant

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPTS = CHECKOUT / "e2e/cluster"
VALUES = Path(__file__).with_name("values.yaml")
KUBE_DIR = Path(os.environ.get("KUBE_DIR", "/var/lib/arks-e2e"))
IMAGES = Path(os.environ.get("ARKS_IMAGES", Path.home() / ".cache/arks-kube/images")) / "images.tar"
HUB = ("10.97.0.2", 18080)
"""Address of the hub for pods: HOST_IP of e2e/cluster/env.sh; values.yaml has the same address."""
READY_SECONDS = 300.0

Install = Callable[..., Awaitable[None]]


def running() -> bool:
    """Whether the node's process runs. Its pid file alone may be a leftover."""
    try:
        pid = (KUBE_DIR / "node.pid").read_text().strip()
        return b"node.sh" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def whole_cluster() -> Cluster:
    return Cluster(KUBE_DIR / "admin.kubeconfig")


def script(name: str, *arguments: str) -> None:
    """Runs a script of e2e/cluster; its output is in the test's captured output. Raises CalledProcessError."""
    environment = os.environ | {"HELM": str(helm_program())}
    subprocess.run([str(SCRIPTS / name), *arguments], env=environment, check=True)


@contextmanager
def one_process() -> Iterator[None]:
    """Lets one test process in at a time."""
    with KUBE_DIR.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def start(*, anew: bool) -> None:
    """Starts Kubernetes, if it does not run or has to be new, with the images of `make images` and the hub."""
    if anew or not running():
        script("down.sh")
        script("up.sh")
    script("import.sh", str(IMAGES))
    script("hub.sh", sys.executable, str(HUB[1]))


@pytest.fixture
def bare_cluster() -> Cluster:
    """A new Kubernetes with the images and the hub, without LeaderWorkerSet and Arks."""
    with one_process():
        start(anew=True)
    return whole_cluster()


@pytest.fixture(scope="session")
def empty_cluster() -> Cluster:
    """Kubernetes with LeaderWorkerSet, the images and the hub, without Arks."""
    with one_process():
        start(anew=False)
        script("lws.sh")
    return whole_cluster()


@pytest.fixture(scope="session")
def hub(empty_cluster: Cluster) -> SharedHub:
    """The hub that models are downloaded from."""
    return connected(KUBE_DIR / "run/hub.sock")


@pytest.fixture(scope="session")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the packaged charts, as users get them."""
    return packaged(tmp_path_factory.mktemp("charts"))


def packaged(directory: Path, *options: str) -> Path:
    charts = (str(CHECKOUT / "charts" / name) for name in ("arks-crds", "arks"))
    helm("package", *charts, "--destination", str(directory), *options)
    return directory


async def ready(cluster: Cluster) -> None:
    for namespace in ("lws-system", SYSTEM):
        await cluster.within(namespace).settled(within_seconds=READY_SECONDS)


def install(cluster: Cluster, charts: Path, *options: str) -> None:
    """Installs Arks from its packaged charts, or upgrades an existing release."""
    (definitions,), (chart,) = charts.glob("arks-crds-*.tgz"), charts.glob("arks-[0-9]*.tgz")
    there = ("--namespace", SYSTEM, "--create-namespace")
    helm("upgrade", "--install", "arks-crds", str(definitions), *there, kubeconfig=cluster.kubeconfig)
    own = [*there, "--values", str(VALUES)]
    # Image names do not change with their contents: the annotation makes a kept cluster roll out new images.
    own += ["--set-string", f"defaults.podAnnotations.images={IMAGES.with_suffix('.contents').read_text()}"]
    helm("upgrade", "--install", "arks", str(chart), *own, *options, kubeconfig=cluster.kubeconfig)


@pytest.fixture
def reinstall(cluster: Cluster, charts: Path) -> Install:
    """Upgrades or installs the release with more Helm options, and waits until it is ready."""

    async def upgraded(*options: str) -> None:
        await asyncio.to_thread(install, cluster, charts, *options)
        await ready(cluster)

    return upgraded


@pytest.fixture
def upgrade(cluster: Cluster, tmp_path: Path) -> Install:
    """Upgrades the release to charts of a newer version, with more Helm options, and waits until it is ready."""

    async def upgraded(*options: str) -> None:
        newer = packaged(tmp_path, "--version", "99.0.0")
        await asyncio.to_thread(install, cluster, newer, *options)
        await ready(cluster)

    return upgraded


@pytest.fixture(scope="session")
def cluster(empty_cluster: Cluster, charts: Path) -> Cluster:
    """The cluster with Arks installed from its packaged charts, and ready."""
    with one_process():
        install(empty_cluster, charts)
        asyncio.run(ready(empty_cluster))
    return empty_cluster


@pytest.fixture(scope="session")
def gateway(cluster: Cluster) -> str:
    """Envoy's address for clients outside of the cluster."""
    service = asyncio.run(cluster.within(SYSTEM).get("service", "arks-gateway"))
    assert service is not None
    return f"http://{asyncio.run(cluster.node_address())}:{service['spec']['ports'][0]['nodePort']}"


@pytest_asyncio.fixture
async def tenant(cluster: Cluster, gateway: str, request: pytest.FixtureRequest) -> AsyncIterator[Tenant]:
    """A namespace for one test, deleted with its contents afterwards."""
    name = re.sub("[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:40].strip("-")
    async with Tenant.of(cluster, name, f"{gateway}/v1").created() as tenant:
        yield tenant


@pytest.fixture
def tag_images(cluster: Cluster) -> Callable[[str], None]:
    """Adds another tag to the node's images of Arks."""
    return lambda tag: script("tag.sh", "dev", tag)


@pytest.fixture
def restart_kubelet(cluster: Cluster) -> Callable[[], None]:
    """Kills the node's kubelet, which restarts half a second later."""

    def is_kubelet(process: Path) -> bool:
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return words[0] == b"kubelet" and f"--root-dir={KUBE_DIR}/kubelet".encode() in words

    def restart() -> None:
        (kubelet,) = [process for process in Path("/proc").glob("[0-9]*") if is_kubelet(process)]
        os.kill(int(kubelet.name), signal.SIGKILL)

    return restart


@pytest_asyncio.fixture
async def client_of(gateway: str) -> AsyncIterator[ClientOf]:
    """Key -> the official client, unmodified, without retries, so that every error shows."""
    async with clients(f"{gateway}/v1", timeout_seconds=60) as client_of:
        yield client_of


REPORTS_MOST = 3
"""Reports of the cluster after failures. The first ones help most, and each has hundreds of lines."""
reports = iter(range(REPORTS_MOST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and item.get_closest_marker("e2e") and running() and next(reports, None) is not None:
        report.sections.append(("cluster", asyncio.run(whole_cluster().report())))
    return report
