import pytest

from arks.contracts.resources import ArksModel, ArksQuota
from arks.local.render.fields import UnknownField, as_text

SCHEMA = ArksModel.model_json_schema(by_alias=True)


def test_a_field_is_documented_with_the_fields_in_it() -> None:
    text = as_text(SCHEMA, "ArksModel", "spec.source")
    assert text.startswith("ArksModel.spec.source <object>\n  Source of the files.")
    assert "  huggingface <object>\n    Download from a hub." in text


def test_lists_and_choices_are_shown_as_types() -> None:
    text = as_text(ArksQuota.model_json_schema(by_alias=True), "ArksQuota", "spec")
    assert "  quotas <[]object> required" in text
    assert "  period <lifetime|day|month> default lifetime" in text


def test_an_unknown_field_names_those_that_exist() -> None:
    with pytest.raises(UnknownField) as unknown:
        as_text(SCHEMA, "ArksModel", "spec.sorce")
    assert ("sorce", True) == (unknown.value.field, "source" in unknown.value.known)
