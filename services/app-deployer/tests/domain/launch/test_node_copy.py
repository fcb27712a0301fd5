"""The script that chooses between a node's copy and the PVC, and what pods get for it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from arks.app_deployer.adapters.profiles import read_profiles
from arks.app_deployer.domain.launch import manifests, node_copy
from arks.app_deployer.domain.launch.disaggregated_commands import Stage
from arks.app_deployer.domain.launch.disaggregated_manifests import stage_templates
from arks.contracts.names import cache_label
from arks.contracts.resources import ArksApplication, ArksDisaggregatedApplication
from arks.events.v1.facts_pb2 import ModelFact

MODEL = "models/team-a/tiny"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("pvc", "cache", "models"):
        (tmp_path / name).mkdir()
    return tmp_path


def store(volume: Path, revision: str, path: str = MODEL) -> None:
    """A complete model, whose file has the volume's name."""
    directory = volume / path
    (directory / ".arks").mkdir(parents=True)
    (directory / "tiny.gguf").write_text(volume.name)
    marker = {"format": 1, "fingerprint": "f", "revision": revision, "files": [{"path": "tiny.gguf", "version": None}]}
    (directory / ".arks/complete.json").write_text(json.dumps(marker, indent=1))


def run(root: Path, loaded: str = f"{MODEL}/tiny.gguf") -> str:
    """What the engine reads."""
    copy = node_copy.NodeCopy("claim", f"{root}/models/{loaded}", "label")
    then = ["cat", copy.model_path]
    line = node_copy.command(copy, f"{root}/models", then, pvc=f"{root}/pvc", cache=f"{root}/cache")
    return subprocess.run(line, capture_output=True, text=True, timeout=20, check=True).stdout


def test_the_copy_of_the_node_is_loaded(root: Path) -> None:
    store(root / "pvc", "1")
    store(root / "cache", "1")
    assert run(root) == "cache"


def test_the_pvc_is_loaded_on_a_node_without_a_copy(root: Path) -> None:
    store(root / "pvc", "1")
    assert run(root) == "pvc"


def test_the_pvc_is_loaded_if_the_copy_has_another_revision(root: Path) -> None:
    store(root / "pvc", "2")
    store(root / "cache", "1")
    assert run(root) == "pvc"


def test_the_pvc_is_loaded_while_the_copy_is_not_complete(root: Path) -> None:
    store(root / "pvc", "1")
    store(root / "cache", "1")
    (root / "cache" / MODEL / ".arks/complete.json").unlink()
    assert run(root) == "pvc"


def test_a_model_without_a_marker_is_loaded_from_the_pvc(root: Path) -> None:
    (root / "pvc/mine").mkdir()
    (root / "pvc/mine/x.gguf").write_text("pvc")
    assert run(root, "mine/x.gguf") == "pvc"


def test_the_next_start_of_the_container_chooses_again(root: Path) -> None:
    store(root / "pvc", "1")
    store(root / "cache", "1")
    assert run(root) == "cache"
    (root / "cache" / MODEL / ".arks/complete.json").unlink()
    assert run(root) == "pvc"


def test_the_pvc_is_loaded_when_its_marker_is_gone_at_the_next_start(root: Path) -> None:
    store(root / "pvc", "1")
    store(root / "cache", "1")
    assert run(root) == "cache"
    (root / "pvc" / MODEL / ".arks/complete.json").unlink()
    assert run(root) == "pvc"
    assert (root / "cache" / MODEL / "tiny.gguf").read_text() == "cache"


def test_other_files_of_the_pvc_stay_where_they_are(root: Path) -> None:
    store(root / "pvc", "1")
    store(root / "cache", "1")
    for other in ("adapters/a", "models/team-a/other", "models/x"):
        (root / "pvc" / other).parent.mkdir(parents=True, exist_ok=True)
        (root / "pvc" / other).write_text(other)
    assert run(root) == "cache"
    assert [run(root, other) for other in ("adapters/a", "models/team-a/other", "models/x")] == [
        *("adapters/a", "models/team-a/other", "models/x")
    ]


def test_a_model_at_the_top_of_its_volume_is_found(root: Path) -> None:
    store(root / "pvc", "1", "tiny")
    store(root / "cache", "1", "tiny")
    assert run(root, "tiny/tiny.gguf") == "cache"


def leader(cache_claim_name: str, **instance: Any) -> dict[str, Any]:
    application = ArksApplication.from_dict(
        {
            "apiVersion": "arks.ai/v1",
            "kind": "ArksApplication",
            "metadata": {"name": "app", "namespace": "team-a"},
            "spec": {"model": {"name": "tiny"}, "runtime": "vllm", "instanceSpec": instance},
        }
    )
    path = f"/models/{MODEL}"
    fact = ModelFact(
        namespace="team-a", name="tiny", ready=True, path=path, claim_name="weights", cache_claim_name=cache_claim_name
    )
    pod: dict[str, Any] = manifests.templates(application, fact, read_profiles(), 600.0).leader["spec"]
    return pod


def test_pods_mount_the_copies_read_only_and_prefer_nodes_with_one() -> None:
    given = {"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [given]}}
    pod = leader("arks-model-cache", affinity=affinity)
    claims = {volume["name"]: volume.get("persistentVolumeClaim") for volume in pod["volumes"]}
    assert claims["arks-models-cache"] == {"claimName": "arks-model-cache", "readOnly": True}
    assert claims["arks-models-pvc"] == {"claimName": "weights"}  # as without copies
    read_only = {mount["name"] for mount in pod["containers"][0]["volumeMounts"] if mount.get("readOnly")}
    assert read_only >= {"arks-models-cache", "arks-models-pvc"}
    preferred = pod["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred[0] == given
    expression = {"key": cache_label("team-a", "tiny"), "operator": "Exists"}
    assert preferred[1]["preference"] == {"matchExpressions": [expression]}
    assert "requiredDuringSchedulingIgnoredDuringExecution" not in pod["affinity"]["nodeAffinity"]


def test_both_stages_of_a_disaggregated_application_load_the_copy() -> None:
    application = ArksDisaggregatedApplication.from_dict(
        {
            "apiVersion": "arks.ai/v1",
            "kind": "ArksDisaggregatedApplication",
            "metadata": {"name": "app", "namespace": "team-a"},
            "spec": {"model": {"name": "tiny"}, "runtime": "sglang", "router": {}, "prefill": {}, "decode": {}},
        }
    )
    fact = ModelFact(
        namespace="team-a", name="tiny", ready=True, path=f"/models/{MODEL}", cache_claim_name="arks-model-cache"
    )
    for stage in Stage:
        pod = stage_templates(application, stage, fact, read_profiles(), 600.0).leader["spec"]
        assert pod["containers"][0]["command"][:2] == ["sh", "-c"]
        assert "arks-models-cache" in {volume["name"] for volume in pod["volumes"]}
        assert "affinity" in pod


def test_the_engine_gets_the_same_command_behind_the_script() -> None:
    without, with_copy = leader(""), leader("arks-model-cache")
    command = without["containers"][0]["command"]
    assert with_copy["containers"][0]["command"][-len(command) :] == command
    assert "affinity" not in without
