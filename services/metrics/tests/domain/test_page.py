"""The fast page reader against prometheus_client's own writer and parser."""

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from arks.metrics.domain.page import Layout, PageReader

WANTED = ["vllm:a", "vllm:a_total", "vllm:b", "plain_gauge", "sglang:a"]
UNWANTED = ["vllm:a_by_reason", "vllm:ab", "vllm:b_bucket", "plain", "other:a", "xvllm:a", "plain_gauge_sum"]

label_values = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12) | st.sampled_from(
    ["}", '"', "\\", "\\n", "\n", "} 5", '{x="y"} 7', "vllm:a 3", '\nvllm:a{a="b"} 3', "# HELP", " "]
)
labels = st.dictionaries(st.sampled_from(["engine", "model_name", "le", "priority"]), label_values, max_size=3)
values = st.floats(allow_nan=True, allow_infinity=True) | st.integers(0, 10**7).map(float)
families = st.dictionaries(
    st.sampled_from(WANTED + UNWANTED),
    st.tuples(label_values, st.lists(st.tuples(labels, values), max_size=4)),
    max_size=8,
)


class Written(Collector):
    """Samples as given, through prometheus_client's own families."""

    def __init__(self, content: dict[str, tuple[str, list[tuple[dict[str, str], float]]]]) -> None:
        self._content = content

    def collect(self) -> list[GaugeMetricFamily]:
        found = []
        for name, (documentation, samples) in self._content.items():
            family = GaugeMetricFamily(name, documentation)
            for sample_labels, value in samples:
                family.add_sample(name, sample_labels, value)
            found.append(family)
        return found


def by_library(page: bytes) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            if sample.name in WANTED:
                found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return found


def by_us(page: bytes) -> dict[str, list[tuple[dict[str, str], float]]]:
    found = PageReader(WANTED).samples(page)
    return {
        name: [(dict(sample.labels()), math.nan if sample.value is None else sample.value) for sample in samples]
        for name, samples in found.items()
    }


@given(families)
def test_every_wanted_sample_is_read_as_the_library_reads_it(
    content: dict[str, tuple[str, list[tuple[dict[str, str], float]]]],
) -> None:
    registry = CollectorRegistry()
    registry.register(Written(content))
    page = generate_latest(registry)
    assert repr(sorted(by_library(page).items())) == repr(sorted(by_us(page).items()))


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(page: bytes) -> None:
    for samples in PageReader(WANTED).samples(page).values():
        for sample in samples:
            sample.labels()


def test_a_sample_on_the_first_line_and_one_without_a_last_newline_are_read() -> None:
    found = PageReader(["vllm:a", "vllm:b"]).samples(b"vllm:a 1\nvllm:b 2")
    assert {"vllm:a": [1.0], "vllm:b": [2.0]} == {name: [s.value for s in samples] for name, samples in found.items()}


def test_timestamps_exemplars_and_carriage_returns_are_no_part_of_a_value() -> None:
    page = b'vllm:a{x="1"} 3 1700000000000\r\nvllm:b{x="}"} 4 # {trace_id="a"} 9 1.5\n'
    found = PageReader(["vllm:a", "vllm:b"]).samples(page)
    assert [3.0, 4.0] == [found["vllm:a"][0].value, found["vllm:b"][0].value]


def test_a_value_that_is_no_number_differs_from_a_missing_one() -> None:
    found = PageReader(["vllm:a", "vllm:b"]).samples(b"vllm:a many\nvllm:b\n")
    assert ([None], False) == ([sample.value for sample in found["vllm:a"]], "vllm:b" in found)


LONG_NAMES = ["vllm:num_requests_running", "vllm:generation_tokens_total", "sglang:num_queue_reqs"]
LINE = st.builds(
    "{}{}".format,
    st.sampled_from([*LONG_NAMES, "vllm:num_requests_running_by_reason", "vllm:e2e_latency_bucket"]),
    st.sampled_from(["", '{engine="0"}', '{engine="1"}', '{le="0.3",model_name="m"}']),
)
CHANGES = st.lists(st.tuples(st.integers(0, 30), st.none() | LINE), max_size=6)
"""(index, a line that comes there; None: the one there goes)"""


@given(st.lists(LINE, max_size=20), CHANGES, st.lists(st.sampled_from(["000", "031", "NaN", "1e9"]), min_size=1))
def test_pages_of_one_engine_are_read_as_if_each_were_the_first(
    lines: list[str], changes: list[tuple[int, str | None]], numbers: list[str]
) -> None:
    """Values change on every page; now and then a line comes, goes, or is on it twice."""
    layout, reader = Layout(), PageReader(LONG_NAMES)
    for index, change in [(0, None), *changes]:
        lines = [*lines[:index], change, *lines[index:]] if change else [*lines[:index], *lines[index + 1 :]]
        for number in numbers:
            page = "".join(f"{line} {number}\n" for line in lines).encode()
            assert repr(sorted(reader.samples(page).items())) == repr(sorted(reader.samples(page, layout).items()))


def test_a_line_that_moves_further_than_the_one_before_it_is_found() -> None:
    layout, reader = Layout(), PageReader(["vllm:a", "vllm:b"])
    for text in ("short", "long " * 1_000, "short"):
        page = f"vllm:a 1\n# {text}\nvllm:b 2\n".encode()
        assert ["vllm:a", "vllm:b"] == list(reader.samples(page, layout))
