import pytest
from pydantic import ValidationError

from arks.model_manager.config import Settings
from arks.model_manager.domain.garbage import Watermarks


@pytest.mark.parametrize("name", ["ARKS_WORKER_IMAGE", "ARKS_SCRIPTS_IMAGE"])
def test_the_image_of_workers_has_two_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "registry/arks/model-manager:1")
    assert "registry/arks/model-manager:1" == Settings().worker_image


def test_workers_have_no_user_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().worker_user is None
    monkeypatch.setenv("ARKS_WORKER_USER", "1000")
    assert 1000 == Settings().worker_user


def test_watermarks_in_the_wrong_order_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARKS_STORE_HIGH_PERCENT", "60")
    with pytest.raises(ValidationError, match="0 <= low <= high <= 100"):
        Settings()
    monkeypatch.setenv("ARKS_STORE_LOW_PERCENT", "50")
    assert Watermarks(60, 50) == Settings().limits().marks
