"""Jobs are found by their storage path and pods by their Job, in whatever order the watches deliver them."""

from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from arks.kit.cache import Cache
from arks.kit.clock import SystemClock
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.types import Json
from arks.model_manager.adapters.kubernetes.objects import Jobs, Pvcs
from arks.model_manager.adapters.kubernetes.states import ObservedJob, ObservedPod, ObservedPvc, parse_pvc

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class WatchedObjects:
    def __init__(self) -> None:
        self.jobs: Cache[ObservedJob] = Cache()
        self.pods: Cache[ObservedPod] = Cache()
        self.index = Jobs(self.jobs, self.pods)
        self.changes: list[str] = []
        self.index.changed = self.changes.append

    def job(self, name: str, storage_path: str, *, uid: str | None = None, hour: int = 0) -> ObservedJob:
        key, created = Key("default", name), NOW.replace(hour=hour)
        job = ObservedJob(key, uid or name, "tiny", storage_path, "f", "pvc", "t", created, 0, 0, None)
        self.jobs.apply(key, job)
        return job

    def pod(self, name: str, job_uid: str, *, running: bool = False, hour: int = 0) -> ObservedPod:
        key = Key("default", name)
        pod = ObservedPod(key, name, job_uid, NOW.replace(hour=hour), running, None, None, None)
        self.pods.apply(key, pod)
        return pod


def test_jobs_of_a_path_are_sorted_by_creation() -> None:
    watched = WatchedObjects()
    second, first = watched.job("b", "p", hour=2), watched.job("a", "p", hour=1)
    watched.job("c", "q")
    assert [first, second] == watched.index.at_path("p")


def test_a_job_that_moves_or_is_deleted_changes_both_paths() -> None:
    watched = WatchedObjects()
    watched.job("a", "p")
    watched.job("a", "q", uid="again")
    assert ([], 1) == (watched.index.at_path("p"), len(watched.index.at_path("q")))
    watched.jobs.apply(Key("default", "a"), None)
    assert [] == watched.index.at_path("q")
    assert ["p", "p", "q", "q"] == sorted(watched.changes)


def test_the_newest_pod_of_a_job_is_found_even_if_observed_before_the_job() -> None:
    watched = WatchedObjects()
    watched.pod("old", "a", hour=1)
    newest = watched.pod("new", "a", hour=2)
    job = watched.job("a", "p")
    assert newest == watched.index.pod_of(job)
    watched.pods.apply(newest.key, None)
    found = watched.index.pod_of(job)
    assert found is not None
    assert "old" == found.uid


def test_a_change_of_a_pod_is_a_change_of_its_path() -> None:
    watched = WatchedObjects()
    watched.job("a", "p")
    watched.changes.clear()
    pod = watched.pod("x", "a")
    watched.pods.apply(pod.key, None)
    watched.pod("y", "no job")
    assert ["p", "p"] == watched.changes


def test_only_running_pods_of_our_jobs_are_polled() -> None:
    watched = WatchedObjects()
    watched.job("a", "p")
    running = watched.pod("x", "a", running=True)
    watched.pod("y", "a")
    watched.pod("z", "no job", running=True)
    assert [(running, "p")] == watched.index.running()


def test_a_deleted_job_is_hidden_before_the_watch_reports_it() -> None:
    watched = WatchedObjects()
    job = watched.job("a", "p")
    watched.index.deleted(job)
    assert [] == watched.index.at_path("p")
    watched.job("a", "p", uid="its successor")
    assert 1 == len(watched.index.at_path("p"))


async def test_an_answer_older_than_the_watch_is_ignored() -> None:
    def pvc(version: int, phase: str) -> Json:
        metadata = {"namespace": "default", "name": "c", "uid": "u", "resourceVersion": str(version)}
        return {"metadata": metadata, "status": {"phase": phase}}

    watched: Cache[ObservedPvc] = Cache()
    pvcs = Pvcs(KubeApi("test", CollectorRegistry()), watched, SystemClock())
    watched.apply(Key("default", "c"), parse_pvc(pvc(8, "Bound")))
    pvcs.put(pvc(7, "Pending"))
    found = await pvcs.get(Key("default", "c"))
    assert found is not None
    assert "Bound" == found.phase
