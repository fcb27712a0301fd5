"""What observed PVCs, Jobs and pods mean for a model."""

import pytest

from arks.contracts.resources import DownloadProgress
from arks.model_manager.adapters.kubernetes.interpretation import (
    download_of,
    outcome_of,
    report_in,
    stored_of,
)
from arks.model_manager.adapters.kubernetes.states import (
    ObservedJob,
    ObservedPod,
    ObservedPvc,
    parse_pvc,
)
from arks.model_manager.domain.failures import FailureKind
from arks.model_manager.domain.observation import Blocked, Content, Download, DownloadState
from arks.model_manager.domain.progress import Sample
from arks.model_manager.domain.protocol import Found, Outcome, Report, outcome_to_json, report_to_json
from arks.model_manager.testing.objects import (
    NOW,
    STORAGE_PATH,
    TIME,
    ended_pod,
    failed_condition,
    observed_job,
    observed_pod,
    observed_pvc,
)

FOUND = Found("tiny.gguf", size_bytes=10, file_count=2, revision="c0ffee")
DONE = Outcome(Report(10, 10, done=True), FOUND)
DENIED = Outcome(Report(5, 10, failure=FailureKind.DENIED, message="no"))
NOTHING_KNOWN = ("", "")


def download(job: ObservedJob, pod: ObservedPod | None, start_fault: str = "") -> Download | None:
    return download_of(job, pod, DownloadProgress(), start_fault=start_fault, now=NOW)


def test_a_bound_pvc_holds_what_its_worker_found() -> None:
    stored = stored_of(observed_pvc(), STORAGE_PATH, FOUND, NOTHING_KNOWN)
    assert (Content.COMPLETE, "/models/models/default/tiny/tiny.gguf") == (stored.content, stored.path)
    assert (10, 2, "c0ffee") == (stored.size_bytes, stored.file_count, stored.revision)
    assert Content.INCOMPLETE is stored_of(observed_pvc(), STORAGE_PATH, None, NOTHING_KNOWN).content


@pytest.mark.parametrize("file", ["", "a b.gguf", "$(reboot).gguf", "../x.gguf", "/etc/passwd", "a;b.gguf"])
def test_a_file_with_an_unsafe_name_is_loaded_by_its_directory(file: str) -> None:
    assert STORAGE_PATH.mounted == stored_of(observed_pvc(), STORAGE_PATH, Found(file), NOTHING_KNOWN).path


@pytest.mark.parametrize(
    ("why", "failing"),
    [
        (("WaitForFirstConsumer", "waiting for first consumer"), False),
        (("ExternalProvisioning", "waiting for a volume"), False),
        (("ProvisioningFailed", "storageclass not found"), True),
        (("FailedBinding", "no persistent volumes available"), True),
        (NOTHING_KNOWN, False),
    ],
)
def test_an_unbound_pvc_waits_or_fails_with_the_message_of_its_event(why: tuple[str, str], failing: bool) -> None:
    stored = stored_of(observed_pvc("Pending"), STORAGE_PATH, FOUND, why)
    assert (Content.PENDING, failing) == (stored.content, stored.failing)
    assert why[1] in stored.message


@pytest.mark.parametrize(
    "observed", [observed_pvc("Lost"), observed_pvc(deleting=True), observed_pvc("Pending", deleting=True)]
)
def test_a_pvc_that_is_being_deleted_is_lost(observed: ObservedPvc) -> None:
    assert Content.LOST is stored_of(observed, STORAGE_PATH, FOUND, NOTHING_KNOWN).content


def test_a_new_pvc_is_pending() -> None:
    observed = parse_pvc({"metadata": {"uid": "u", "ownerReferences": [{"uid": "m"}]}})
    assert ObservedPvc("u", "Pending", False, ("m",), by_first_pod=True) == observed


def test_a_job_without_a_pod_is_starting() -> None:
    observed = download(observed_job(), None)
    assert observed is not None
    assert (DownloadState.STARTING, None) == (observed.state, observed.blocked)


def test_an_event_explains_a_blocked_start_if_the_pod_has_no_reason() -> None:
    observed = download(observed_job(), observed_pod(), "FailedMount: no such volume")
    assert observed is not None
    assert Blocked("FailedMount: no such volume", lasting=False) == observed.blocked


def test_a_running_worker_has_the_progress_of_its_log() -> None:
    running = observed_pod({"running": {"startedAt": TIME}}, phase="Running")
    progress = DownloadProgress(done_bytes=5, total_bytes=10)
    observed = download_of(observed_job(), running, progress, start_fault="", now=NOW)
    assert Download("f", DownloadState.RUNNING, progress) == observed


def test_a_successful_worker_is_no_download() -> None:
    done = ended_pod(0, outcome_to_json(DONE))
    assert DONE == outcome_of(observed_job(), done)
    assert download(observed_job(), done) is None


def test_a_recorded_outcome_outlives_its_pod() -> None:
    noted = observed_job({"arks.ai/outcome": outcome_to_json(DONE)})
    assert DONE == outcome_of(noted, None)
    assert download(noted, None) is None


def test_a_complete_job_without_an_outcome_is_no_download() -> None:
    complete = {"type": "Complete", "status": "True", "lastTransitionTime": TIME}
    assert outcome_of(observed_job({}, complete), None) is None
    assert download(observed_job({}, complete), None) is None


def test_a_failure_with_progress_starts_the_count_over() -> None:
    pod = ended_pod(1, outcome_to_json(DENIED))
    stuck = download(observed_job({"arks.ai/failures": "2", "arks.ai/best-bytes": "5"}), pod)
    further = download(observed_job({"arks.ai/failures": "2", "arks.ai/best-bytes": "4"}), pod)
    assert stuck is not None
    assert further is not None
    assert (3, 1) == (stuck.failures, further.failures)
    assert (DownloadState.FAILED, NOW, 5) == (stuck.state, stuck.ended_at, stuck.progress.done_bytes)
    assert stuck.failure is not None
    assert (FailureKind.DENIED, "no") == (stuck.failure.kind, stuck.failure.message)


@pytest.mark.parametrize(
    ("pod", "message"),
    [
        (ended_pod(1, "Traceback:\n  File x\nMemoryError"), "the worker ended with status 1: MemoryError"),
        (ended_pod(137, reason="OOMKilled"), "the worker ran out of memory: give it more in instanceSpec.resources"),
        (ended_pod(143), "the worker ended with status 143"),
        (ended_pod(0, "nothing that we know"), "the worker ended with status 0: nothing that we know"),
        (ended_pod(1, outcome_to_json(DONE)), f"the worker ended with status 1: {outcome_to_json(DONE)}"),
        (ended_pod(1, "denied: hf_abcdefghij"), "the worker ended with status 1: denied: hf_[redacted]"),
        (
            observed_pod(phase="Failed", reason="Evicted", message="the node was low on memory"),
            "Evicted: the node was low on memory",
        ),
        (observed_pod(phase="Failed"), "the pod ended before its worker began"),
        (
            observed_pod(
                phase="Failed",
                initContainerStatuses=[{"name": "a", "state": {"terminated": {"exitCode": 3, "message": "x\ny"}}}],
            ),
            "the init container a ended with status 3: y",
        ),
    ],
)
def test_a_pod_that_ended_without_an_outcome_is_a_crash_with_its_reason(pod: ObservedPod, message: str) -> None:
    assert Outcome(Report(failure=FailureKind.CRASHED, message=message)) == outcome_of(observed_job(), pod)


def test_a_failed_job_without_a_pod_is_a_crash() -> None:
    gone = observed_job({}, failed_condition("BackoffLimitExceeded", "Job has reached the specified backoff limit"))
    observed = download(gone, None)
    assert observed is not None
    assert observed.failure is not None
    assert "BackoffLimitExceeded: Job has reached the specified backoff limit" == observed.failure.message


def test_an_impossible_outcome_of_a_pod_is_ignored() -> None:
    for lie in ('{"done": true, "found": {"size_bytes": -1}}', '{"done": true}', '{"done_bytes": "many"}', "[]", "{}"):
        outcome = outcome_of(observed_job(), ended_pod(0, lie))
        assert outcome is not None
        assert FailureKind.CRASHED is outcome.report.failure


def test_the_last_report_of_a_log_is_read_with_its_time() -> None:
    lines = [
        "2026-01-01T12:00:00.123456789Z " + report_to_json(Report(1, 10)),
        "2026-01-01T12:00:01.5Z " + report_to_json(Report(7, 10)),
        "2026-01-01T12:00:02Z a warning of some library",
        "2026-01-01T12:00:03Z " + report_to_json(Report(8)),
    ]
    assert (Sample(NOW.timestamp() + 1.5, 7), 10) == report_in("\n".join(lines))


@pytest.mark.parametrize(
    "log", ["", "no time {}", '2026-01-01T12:00:00Z {"done_bytes": "x", "total_bytes": 3}', "\n\n"]
)
def test_a_log_without_a_report_is_no_progress(log: str) -> None:
    assert report_in(log) is None
