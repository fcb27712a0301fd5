"""Jobs are found by their place and pods by their Job, whatever order the watches bring them in."""

from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from arks.kit.cache import Cache
from arks.kit.clock import SystemClock
from arks.kit.key import Key
from arks.kit.kube.api import Json, KubeApi
from arks.model_manager.adapters.kubernetes.objects import Claims, Jobs
from arks.model_manager.adapters.kubernetes.states import ClaimSeen, JobSeen, PodSeen, claim_seen

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Watched:
    def __init__(self) -> None:
        self.jobs: Cache[JobSeen] = Cache()
        self.pods: Cache[PodSeen] = Cache()
        self.index = Jobs(self.jobs, self.pods)
        self.changes: list[str] = []
        self.index.changed = self.changes.append

    def job(self, name: str, place: str, *, uid: str | None = None, hour: int = 0) -> JobSeen:
        key, created = Key("default", name), NOW.replace(hour=hour)
        job = JobSeen(key, uid or name, "tiny", place, "f", "claim", "t", created, 0, 0, None)
        self.jobs.apply(key, job)
        return job

    def pod(self, name: str, job_uid: str, *, running: bool = False, hour: int = 0) -> PodSeen:
        key = Key("default", name)
        pod = PodSeen(key, name, job_uid, NOW.replace(hour=hour), running, None, None, None)
        self.pods.apply(key, pod)
        return pod


def test_jobs_of_a_place_come_in_the_order_of_their_creation() -> None:
    watched = Watched()
    second, first = watched.job("b", "p", hour=2), watched.job("a", "p", hour=1)
    watched.job("c", "q")
    assert [first, second] == watched.index.of_place("p")


def test_a_job_that_moves_or_goes_leaves_its_place_and_both_hear_of_it() -> None:
    watched = Watched()
    watched.job("a", "p")
    watched.job("a", "q", uid="again")
    assert ([], 1) == (watched.index.of_place("p"), len(watched.index.of_place("q")))
    watched.jobs.apply(Key("default", "a"), None)
    assert [] == watched.index.of_place("q")
    assert ["p", "p", "q", "q"] == sorted(watched.changes)


def test_the_newest_pod_of_a_job_counts_also_when_it_came_before_its_job() -> None:
    watched = Watched()
    watched.pod("old", "a", hour=1)
    newest = watched.pod("new", "a", hour=2)
    job = watched.job("a", "p")
    assert newest == watched.index.pod_of(job)
    watched.pods.apply(newest.key, None)
    found = watched.index.pod_of(job)
    assert found is not None
    assert "old" == found.uid


def test_a_change_of_a_pod_is_a_change_of_its_jobs_place() -> None:
    watched = Watched()
    watched.job("a", "p")
    watched.changes.clear()
    pod = watched.pod("x", "a")
    watched.pods.apply(pod.key, None)
    watched.pod("y", "of nobody")
    assert ["p", "p"] == watched.changes


def test_only_pods_that_run_for_a_job_of_ours_are_read() -> None:
    watched = Watched()
    watched.job("a", "p")
    running = watched.pod("x", "a", running=True)
    watched.pod("y", "a")
    watched.pod("z", "of nobody", running=True)
    assert [(running, "p")] == watched.index.running()


def test_what_a_watch_still_says_of_a_job_that_we_deleted_is_old() -> None:
    watched = Watched()
    job = watched.job("a", "p")
    watched.index.ended(job)
    assert [] == watched.index.of_place("p")
    watched.job("a", "p", uid="its successor")
    assert 1 == len(watched.index.of_place("p"))


async def test_an_answer_that_is_older_than_what_the_watch_has_told_changes_nothing() -> None:
    def claim(version: int, phase: str) -> Json:
        metadata = {"namespace": "default", "name": "c", "uid": "u", "resourceVersion": str(version)}
        return {"metadata": metadata, "status": {"phase": phase}}

    watched: Cache[ClaimSeen] = Cache()
    claims = Claims(KubeApi("test", CollectorRegistry()), watched, SystemClock())
    watched.apply(Key("default", "c"), claim_seen(claim(8, "Bound")))
    claims.put(claim(7, "Pending"))
    found = await claims.get(Key("default", "c"))
    assert found is not None
    assert "Bound" == found.phase
