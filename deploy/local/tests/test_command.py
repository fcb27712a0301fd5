"""The arks command on a whole running Arks."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import yaml

from arks.kit.proc import descendants
from arks.kit.testing.manifests import application, endpoint, token
from arks.kit.testing.servers import small_model
from arks.local.files.paths import Paths
from arks.local.files.state import State
from arks.local.files.state_file import is_running, read_state
from arks.local.testing.harness import ARKS, ArksHarness, CommandError, small_file_model

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
T = TypeVar("T")


@pytest.fixture(scope="module")
def arks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArksHarness]:
    """A running Arks with the demo."""
    harness = ArksHarness(tmp_path_factory.mktemp("arks"))
    harness.up()
    yield harness
    harness.down()


def state_of(harness: ArksHarness) -> State:
    state = read_state(Paths.of(harness.home))
    assert state is not None
    return state


def until(query: Callable[[], T], holds: Callable[[T], object], seconds: float = 60.0) -> T:
    """Repeat the query until its answer satisfies `holds`; return that answer."""
    end = time.monotonic() + seconds
    while not holds(found := query()):
        assert time.monotonic() < end, found
        time.sleep(0.1)
    return found


def test_up_prints_the_url_the_key_and_a_working_curl_command(arks: ArksHarness) -> None:
    before = state_of(arks)
    printed = arks.up()
    assert f"http://localhost:{arks.port}/v1" in printed
    assert arks.key not in printed
    assert arks.key in arks.up("--show-key")
    assert "smollm2" in printed
    curl = printed[printed.index("curl") : printed.index("\n\nNext:")].replace(
        '{"model":', '{"max_tokens": 20, "model":'
    )
    answer = json.loads(
        subprocess.run(["bash", "-c", curl + " -s"], capture_output=True, check=True, timeout=120).stdout
    )
    assert answer["usage"]["completion_tokens"] > 0
    after = state_of(arks)
    assert [service.pid for service in before.services] == [service.pid for service in after.services]


def test_up_keeps_what_the_user_changed_in_the_demo(arks: ArksHarness) -> None:
    changed = endpoint("smollm2") | {"spec": {"defaultWeight": 7}}
    arks.apply(changed)
    assert "you have changed the demo (endpoint)" in arks.up()
    assert 7 == arks.json("get", "endpoint", "smollm2")["spec"]["defaultWeight"]
    arks.apply(endpoint("smollm2") | {"spec": {"defaultWeight": 1}})


def test_status_as_json_has_url_key_file_and_services(arks: ArksHarness) -> None:
    status = arks.json("status")
    assert f"http://localhost:{arks.port}/v1" == status["gateway"]["url"]
    assert {"model": "smollm2", "keyFile": str(arks.home / "demo-key")} == status["demo"]
    assert {"ready"} == {service["state"] for service in status["services"]}
    assert all(service["address"] for service in status["services"])


def test_only_the_owner_can_read_the_key_and_no_other_file_has_it(arks: ArksHarness) -> None:
    assert 0o600 == stat.S_IMODE((arks.home / "demo-key").stat().st_mode)
    key = arks.key.encode()
    holders = []
    for file in arks.home.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # it runs, so files come and go
            if file.is_file() and file.name != "demo-key" and key in file.read_bytes():
                holders.append(file)
    assert [] == holders


def test_another_port_is_rejected_while_arks_runs(arks: ArksHarness) -> None:
    printed = arks.arks("up", "--port", "1", check=False)
    assert f"Arks is already running, with its gateway on port {arks.port}" in printed


def test_apply_prints_the_change_of_each_resource(arks: ArksHarness) -> None:
    assert "arksendpoint/other created\n" == arks.apply(endpoint("other"))
    assert "arksendpoint/other unchanged\n" == arks.apply(endpoint("other"))
    changed = endpoint("other") | {"spec": {"defaultWeight": 7}}
    assert "arksendpoint/other configured\n" == arks.apply(changed)
    assert "7" == arks.arks("get", "aep", "other", "--no-headers", "-o", "wide").split()[5]
    assert "arksendpoint/other deleted\n" == arks.arks("delete", "endpoint", "other")
    assert "No resources found" in arks.arks("get", "endpoints", "-n", "nowhere", check=False)


def test_one_error_prevents_all_changes(arks: ArksHarness) -> None:
    broken = small_file_model("broken") | {"spec": {"model": 7}}
    with pytest.raises(CommandError, match=r"spec\.model: must be text"):
        arks.apply(endpoint("half"), broken)
    assert "there is no ArksEndpoint 'half'" in arks.arks("get", "endpoint", "half", check=False)


def test_describe_shows_that_a_model_file_is_missing(arks: ArksHarness) -> None:
    missing = small_file_model("missing")
    missing["spec"]["source"]["file"]["path"] = "/no/such/model.gguf"
    arks.apply(missing)
    described = until(
        lambda: arks.arks("describe", "model", "missing"),
        lambda text: "/no/such/model.gguf" in text.partition("Conditions:")[2],
    )
    assert "Events:" in described
    arks.arks("delete", "model/missing")


def test_kinds_have_their_kubectl_names_and_short_names(arks: ArksHarness) -> None:
    for kind in ("am", "ArksModels", "model", "models", "arksmodel", "arksmodels.arks.ai", "ArksModel"):
        assert "arksmodel.arks.ai/smollm2\n" == arks.arks("get", kind, "smollm2", "-o", "name")
    assert all(word in arks.arks("get", "all") for word in ("MODEL", "APPLICATION", "ENDPOINT", "TOKEN", "QUOTA"))
    assert "ArksModel" == arks.json("get", "model/smollm2")["kind"]
    assert {"ArksModel", "ArksToken"} == {item["kind"] for item in arks.json("get", "models,tokens")["items"]}


def test_an_applied_key_is_never_shown(arks: ArksHarness) -> None:
    arks.apply(token("ada", "sk-ada-secret-000", "smollm2"))
    for output in ("yaml", "json"):
        assert "sk-ada" not in arks.arks("get", "token", "ada", "-o", output)
    assert "sk-ada" not in arks.arks("describe", "token", "ada")
    assert "hmac-sha256:" in arks.arks("get", "token", "ada", "-o", "yaml")


def test_a_new_token_works_at_once_and_stops_with_its_deletion(arks: ArksHarness, tmp_path: Path) -> None:
    key_file = tmp_path / "ci.key"
    arks.arks("token", "create", "ci", "-e", "smollm2", "--limit", "rpm=100", "--key-file", str(key_file))
    assert 0o600 == stat.S_IMODE(key_file.stat().st_mode)
    command = ("chat", "Hello", "--max-tokens", "3", "--key-file", str(key_file))
    answer = until(lambda: arks.arks(*command, check=False), lambda text: "did not answer" not in text)
    assert answer.strip()
    arks.arks("delete", "token", "ci")
    until(lambda: arks.arks(*command, check=False), lambda text: "did not answer (401)" in text)


def test_a_secret_is_stored_in_a_file_and_listed_without_values(arks: ArksHarness) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": "hf-token", "namespace": "default"},
        "stringData": {"HF_TOKEN": "hf_very_secret"},
    }
    assert "secret/hf-token created\n" == arks.apply(secret)
    assert "secret/hf-token unchanged\n" == arks.apply(secret)
    assert "very" not in arks.arks("get", "secrets", "-o", "yaml")
    assert "secret/hf-token deleted\n" == arks.arks("delete", "secret", "hf-token")


def test_top_explain_events_usage_and_logs_show_the_demo(arks: ArksHarness) -> None:
    replicas = until(lambda: arks.json("top")["replicas"], lambda found: found[0]["running"] is not None)
    assert [("smollm2-0", "Ready")] == [(replica["replica"], replica["state"]) for replica in replicas]
    explained = arks.arks("explain", "smollm2")
    assert ("smollm2-0" in explained, "Recent changes" in explained) == (True, True)
    trace = arks.home / "trace.jsonl"
    trace.write_text(arks.arks("record", "smollm2", "--seconds", "1"))
    replayed = arks.arks("replay", str(trace))
    assert "Endpoint default/smollm2: 1" in replayed  # seconds, of the recording
    assert "smollm2-0   100.0%" in replayed
    assert "default/smollm2" == arks.json("explain", "smollm2")["newest"]["endpoint"]
    assert "model.ready" in arks.arks("events", "--kind", "model")
    first = json.loads(arks.arks("events", "-o", "json").splitlines()[0])
    assert ("1.0", True) == (first["specversion"], first["type"].startswith("ai.arks."))
    documents = list(yaml.safe_load_all(arks.arks("events", "-o", "yaml")))
    assert first == documents[0]
    assert "NAMESPACE" in arks.arks("usage") or "Nothing was used" in arks.arks("usage")
    assert "there is no ArksEndpoint 'smollm'" in arks.arks("requests", "-m", "smollm", check=False)
    assert "there is no ArksToken 'nope'" in arks.arks("requests", "--token", "nope", "-o", "json", check=False)
    assert "there is no ArksModel 'nope'" in arks.arks("events", "--for", "model/nope", "-o", "json", check=False)
    assert "there is no token 'nope'" in arks.arks("usage", "--token", "nope", check=False)
    assert "ready" in arks.arks("logs", "metrics")
    assert arks.arks("logs", "smollm2", "--tail", "5").count("\n") == 5
    assert "replicas: smollm2-0" in arks.arks("logs", "smollm2", "--replica", "smollm2-9", check=False)


def test_run_serves_a_file_and_lets_the_demo_key_use_it(arks: ArksHarness) -> None:
    printed = arks.arks("run", str(small_model()), "--name", "mine")
    assert 'as model "mine"' in printed
    assert arks.arks("chat", "-m", "mine", "Hello", "--max-tokens", "3").strip()
    assert "arksapplication/mine ready" in arks.arks("wait", "app/mine")
    listed = until(lambda: arks.arks("requests"), lambda text: "mine" in text)
    assert "demo" in listed
    request = json.loads(arks.arks("requests", "-m", "mine", "-o", "json").splitlines()[0])
    assert "mine-0" == request["replicaName"]
    assert "Replica: mine-0 (127.0.0.1:" in arks.arks("explain", "mine", "--request", request["id"])
    explained = arks.json("explain", "mine", "--request", request["id"])
    assert (request["id"], "mine") == (explained["request"]["id"], explained["decision"]["groups"][0]["group"])
    assert "no request nope of mine" in arks.arks("explain", "mine", "--request", "nope", check=False)
    arks.arks("delete", "app/mine", "model/mine", "endpoint/mine")


def test_a_failed_application_makes_status_fail_with_the_reason(arks: ArksHarness) -> None:
    arks.apply(application("broken", model="smollm2", runtime="vllm"))
    shown = until(lambda: arks.arks("status", check=False), lambda text: "✗ application broken: Failed" in text)
    assert "see `arks describe application broken`" in shown
    assert arks.json("status")["problems"]
    arks.arks("delete", "app", "broken")


def test_a_port_in_use_fails_with_the_option_for_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        harness = ArksHarness(tmp_path / "home", port=taken.getsockname()[1])
        with pytest.raises(
            CommandError, match=rf"(?s)port {harness.port} is in use by .*arks up --port {harness.port + 1}"
        ):
            harness.up("--no-demo")


@pytest.mark.parametrize("how", ["down", "kill"])
def test_no_process_remains_soon_after_the_end_of_arks(tmp_path: Path, how: str) -> None:
    harness = ArksHarness(tmp_path / "home")
    harness.up()
    supervisor = int((harness.home / "run" / "pid").read_text())
    everything = descendants(supervisor)
    assert len(everything) >= 10
    if how == "kill":
        os.kill(supervisor, signal.SIGKILL)
    if how == "down":
        harness.down()
    until(lambda: [pid for pid in everything if _alive(pid)], lambda alive: not alive, seconds=30)
    assert not is_running(Paths.of(harness.home))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_reader_that_closes_early_is_no_error(arks: ArksHarness) -> None:
    command = f"{ARKS} --home {arks.home} get all -o yaml | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=90, check=True)
    assert ("apiVersion: v1\n", "") == (done.stdout, done.stderr)
