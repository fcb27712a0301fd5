"""Each mistake gives one clear error with file, line and field."""

from pathlib import Path

import pytest
import yaml

from arks.local.manifests import parse_manifests

CONTRACTS_TESTS = Path(__file__).parents[4] / "libs/contracts/tests"
"""The CRDs are tested with the same manifests."""
SAMPLES = sorted((CONTRACTS_TESTS / "samples").glob("*.yaml"))
MODEL = "apiVersion: arks.ai/v1\nkind: ArksModel\nmetadata: {name: m}\nspec:\n"
APPLICATION = "apiVersion: arks.ai/v1\nkind: ArksApplication\nmetadata: {name: a}\nspec:\n  model: {name: m}\n"
ENDPOINT = "apiVersion: arks.ai/v1\nkind: ArksEndpoint\nmetadata: {name: e}\nspec:\n"
TOKEN = "apiVersion: arks.ai/v1\nkind: ArksToken\nmetadata: {name: t}\nspec:\n"
QUOTA = "apiVersion: arks.ai/v1\nkind: ArksQuota\nmetadata: {name: q}\nspec:\n"
SPLIT = (
    "apiVersion: arks.ai/v1\nkind: ArksDisaggregatedApplication\nmetadata: {name: s}\n"
    "spec:\n  model: {name: m}\n  prefill: {}\n  decode: {}\n"
)
HASH = "hmac-sha256:" + "0" * 64

TEXT = {
    "open bracket": ("a: [1,\nb: 2", "f:2: is not valid YAML: did not find expected ',' or ']' "
        "while parsing a flow sequence that starts in line 1"),
    "tab": ("spec:\n\tx: 1", "f:2: is not valid YAML: found character that cannot start any token "
        "while scanning for the next token that starts in line 2"),
    "control character": ("a: 1\nb: \x01", "f:2: is not valid YAML: holds a character that YAML does not allow"),
    "not unicode": ("a: \ud800", "f:1: is not valid YAML: holds characters that are not Unicode text"),
    "unknown alias": ("a: *b", "f:1: is not valid YAML: found undefined alias"),
    "not a mapping": ("- a", "f:1: must be a mapping with apiVersion, kind, metadata and spec"),
    "plain text": ("hello", "f:1: must be a mapping with apiVersion, kind, metadata and spec"),
    "no kind": ("apiVersion: v1", "f:1: kind: is missing"),
    "kind in another case": ("kind: arksmodel", "f:1: kind: unknown kind 'arksmodel': did you mean ArksModel?"),
    "kind of others": (
        "# first\nkind: Deployment",
        "f:2: kind: unknown kind 'Deployment': kinds: ArksModel, ArksApplication, ArksDisaggregatedApplication, "
        "ArksAutoscaler, ArksEndpoint, ArksToken, ArksQuota, Secret",
    ),
    "a namespace": (
        "kind: Namespace",
        "f:1: kind: namespaces need no object on one machine; `kubectl` creates those of a cluster",
    ),
    "kind not text": ("kind: [1]", "f:1: kind: unknown kind '[1]': kinds: ArksModel, ArksApplication, "
        "ArksDisaggregatedApplication, ArksAutoscaler, ArksEndpoint, ArksToken, ArksQuota, Secret"),
    "items not a list": ("kind: List\nitems: 3", "f:2: items: must be a list"),
    "item not a mapping": ("kind: List\nitems:\n- 3",
        "f:3: items[0]: must be a mapping with apiVersion, kind, metadata and spec"),
    "nested too deep": ("a: " + "[" * 100_000, "f:1: is nested deeper than 64 levels"),
    "grows without end": ("&a [*a]", "f:1: is nested deeper than 64 levels"),
    "a bomb of aliases": (
        "a0: &a0 [x]\n" + "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)),
        "f:1: holds more than 200000 values",
    ),
    "key that is not text": (MODEL + "  [1]: x\n  model: m", "f:5: spec: has a key that is not text"),
    "duplicate key": (MODEL + "  model: a\n  model: b", "f:6: spec.model: is given twice; the first time in line 5"),
    "foreign tag": (MODEL + "  model: !!python/object:os.system x", "f:5: spec.model: has the YAML tag "
        "tag:yaml.org,2002:python/object:os.system, which Arks does not read"),
    "infinite": (ENDPOINT + "  defaultWeight: .inf", "f:5: spec.defaultWeight: must be a finite number"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), TEXT.values(), ids=TEXT)
def test_text_that_is_no_manifest(text: str, expected: str) -> None:
    manifests = parse_manifests([("f", text)])
    assert expected in [str(error) for error in manifests.errors]


MISTAKES: list[dict[str, str]] = yaml.safe_load((CONTRACTS_TESTS / "mistakes.yaml").read_text())


@pytest.mark.parametrize("case", MISTAKES, ids=lambda case: case["mistake"])
def test_a_mistake_in_a_field_gives_exactly_one_error(case: dict[str, str]) -> None:
    manifests = parse_manifests([("f", case["manifest"])])
    assert [case["error"]] == [str(error) for error in manifests.errors]
    assert [] == manifests.resources


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_is_accepted_unchanged(sample: Path) -> None:
    manifests = parse_manifests([(sample.name, sample.read_text())])
    assert [] == manifests.errors
    assert manifests.resources


def test_a_secret_with_a_placeholder_is_a_warning_without_its_value() -> None:
    name = "model-private.yaml"
    [warning] = parse_manifests([(name, (CONTRACTS_TESTS / "samples" / name).read_text())]).warnings
    assert "model-private.yaml:9: data.HF_TOKEN: is not base64 of text, so this value cannot be used" == str(warning)


def test_all_errors_are_listed_at_once_in_the_order_of_lines() -> None:
    text = APPLICATION + "  replicas: x\n  runtime: y\n---\nkind: Z\n---\n" + QUOTA + "  quotas: 3"
    manifests = parse_manifests([("a.yaml", text), ("b.yaml", "x: [")])
    assert ["a.yaml:4", "a.yaml:6", "a.yaml:7", "a.yaml:9", "a.yaml:15", "b.yaml:1"] == [
        f"{error.file}:{error.line}" for error in manifests.errors
    ]


def test_documents_before_a_broken_one_are_still_read() -> None:
    manifests = parse_manifests([("f", MODEL + "  model: m\n---\na: [")])
    assert ["default/m"] == [resource.key for resource in manifests.resources]
    assert 1 == len(manifests.errors)


def test_a_resource_given_twice_is_an_error_that_names_both_lines() -> None:
    text = MODEL + "  model: m\n"
    manifests = parse_manifests([("a.yaml", text), ("b.yaml", "---\n" + text)])
    assert ["b.yaml:4: metadata.name: ArksModel default/m is given twice; the first time in a.yaml:3"] == [
        str(error) for error in manifests.errors
    ]


def test_the_same_name_in_another_namespace_or_kind_is_another_resource() -> None:
    other = MODEL.replace("name: m", "name: m, namespace: other")
    endpoint = ENDPOINT.replace("name: e", "name: m") + "  {}"
    text = "---\n".join([MODEL + "  model: m\n", other + "  model: m\n", endpoint])
    assert [] == parse_manifests([("f", text)]).errors


def test_secret_values_are_in_no_error() -> None:
    hidden = "sk-very-hidden"
    texts = [
        TOKEN + f"  token: [{hidden}]\n  qos: []",
        TOKEN + f"  token: '{hidden} {hidden}'\n  qos: []",
        TOKEN + f"  tokenHash: {hidden}\n  qos: []",
        TOKEN + f"  token: {hidden}\n  tokenHash: {HASH}\n  qos: x",
        TOKEN + f"  token: '{hidden}\n  qos: []",
        f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\ndata: {{a: {hidden}, b: [{hidden}]}}",
        f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\ndata: {hidden}",
    ]
    for text in texts:
        manifests = parse_manifests([("f", text)])
        assert manifests.errors
        assert hidden not in str(manifests.errors + manifests.warnings)


def test_status_in_a_manifest_is_ignored() -> None:
    [resource] = parse_manifests([("f", MODEL + "  model: m\nstatus: {phase: Dreaming, x: 1}")]).resources
    assert "status" not in resource.to_dict()


def test_a_resource_without_a_namespace_gets_the_default_namespace() -> None:
    text = MODEL + "  model: m\n---\n" + MODEL.replace("name: m", "name: m, namespace: own") + "  model: m\n"
    manifests = parse_manifests([("f", text)], default_namespace="team")
    assert ["team/m", "own/m"] == [resource.key for resource in manifests.resources]
