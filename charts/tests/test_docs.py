"""docs/operations.md: its values are values, its images are the images."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from arks.app_deployer.domain.launch.containers import Images

PAGE = (Path(__file__).parents[2] / "docs/operations.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split(":")[0])
def test_every_example_is_taken_by_the_chart(example: str, render: Any) -> None:
    assert render(yaml.safe_load(example)).objects


def test_the_list_of_images_is_complete(default: Any) -> None:
    listed = set(re.findall(r"`([\w./-]+:[\w.-]+)`", PAGE.split("## Without internet")[1].split("## ")[0]))
    ours = {container["image"] for _, container in default.containers()}
    images = Images()
    engines = {images.vllm, images.sglang, images.dynamo, images.llamacpp, images.disaggregated_sglang}
    assert ours | engines == listed


def test_what_runs_is_what_is_installed(default: Any) -> None:
    told = set(re.findall(r"`(arks-[a-z-]+)`", PAGE.split("## What runs")[1].split("\n\nServices that write")[0]))
    installed = {found["metadata"]["name"] for kind in ("Deployment", "StatefulSet") for found in default.of(kind)}
    assert installed == told
