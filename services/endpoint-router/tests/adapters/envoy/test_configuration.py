"""Configuration without an endpoint as golden files (REWRITE_GOLDEN=1 writes them), and its check by Envoy."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from google.protobuf.message import Message

from arks.endpoint_router.adapters.envoy import (
    Backend,
    GatewaySettings,
    ads_bootstrap,
    certificate_source,
    cluster,
    command,
    listener,
    static_bootstrap,
    static_cluster,
    to_json,
    token_quota_cluster,
)
from arks.endpoint_router.adapters.envoy.messages import Cluster, message
from arks.endpoint_router.testing.program import envoy_line
from arks.kit.testing.golden import assert_golden

GOLDEN = Path(__file__).parent / "golden"
BACKENDS = (Backend("10.0.0.1", 8080, weight=30), Backend("10.0.0.2", 8080, weight=10, draining=True))
BUILT: dict[str, Message] = {
    "certificate_source": certificate_source("/etc/envoy/tls"),
    "static_cluster": static_cluster("default/qwen", BACKENDS),
    "ads_bootstrap": ads_bootstrap("gateway-0", "127.0.0.1", 18000, 19000),
    "ads_bootstrap_stats": ads_bootstrap("gateway-0", "127.0.0.1", 18000, 19000, stats_port=9902),
}


@pytest.mark.parametrize("name", BUILT)
def test_configuration_is_as_reviewed(name: str) -> None:
    text = yaml.safe_dump(json.loads(to_json(BUILT[name])), sort_keys=False, width=150)
    assert_golden(GOLDEN / f"{name}.yaml", text)


def test_a_field_that_envoy_does_not_define_is_rejected() -> None:
    with pytest.raises(json_format.ParseError, match="lb_polcy"):
        message(Cluster, {"name": "x", "lb_polcy": "LEAST_REQUEST"})


def test_clusters_share_no_state() -> None:
    first, second = cluster("default/a"), cluster("default/b")
    assert ("default/a", "default/b") == (first.name, second.name)


def test_clusters_that_come_together_are_not_examined_for_ejected_replicas_together() -> None:
    intervals = [cluster(f"default/{n}").outlier_detection.interval.ToMilliseconds() for n in range(1_000)]
    assert (1000, 1249) == (min(intervals), max(intervals))
    assert 10 > max(map(intervals.count, intervals))
    assert intervals[7] == cluster("default/7").outlier_detection.interval.ToMilliseconds()


def test_the_usage_log_is_flushed_at_a_kilobyte_or_a_tenth_of_a_second() -> None:
    line = command("envoy", "envoy.json", workers=2)
    assert ["envoy", "--disable-hot-restart"] == line[:2]
    options = dict(zip(line[2::2], line[3::2], strict=True))
    assert ("1", "100", "2") == tuple(
        options[name] for name in ("--file-flush-min-size-kb", "--file-flush-interval-msec", "--concurrency")
    )


@pytest.mark.real
@pytest.mark.parametrize("kind", ["ads", "static"])
def test_envoy_accepts_it_without_a_warning(tmp_path: Path, kind: str) -> None:
    clusters = [static_cluster("default/m", BACKENDS), token_quota_cluster("localhost", 8090)]
    bootstraps = {
        "ads": ads_bootstrap("gateway-0", "127.0.0.1", 18000, 19000, stats_port=19001),
        "static": static_bootstrap(
            "gateway-0", 19000, [listener(GatewaySettings(str(tmp_path / "usage.log")))], clusters
        ),
    }
    config = tmp_path / "envoy.json"
    config.write_text(to_json(bootstraps[kind]))
    line = [*envoy_line(config), "--mode", "validate"]
    result = subprocess.run(line, capture_output=True, text=True, check=False, timeout=90)
    assert (0, "") == (result.returncode, result.stderr)
