import pytest

from arks.local.render.quantities import duration, number, percent


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0, "0s"),
        (119.9, "119s"),
        (120, "2m"),
        (330, "5m30s"),
        (3 * 3600 - 1, "179m"),
        (7 * 3600 + 5 * 60, "7h5m"),
        (47 * 3600, "47h"),
        (3 * 86400 + 4 * 3600, "3d4h"),
        (400 * 86400, "400d"),
        (3 * 365 * 86400 + 86400, "3y1d"),
        (10 * 365 * 86400, "10y"),
    ],
)
def test_durations_are_written_like_kubectl_s(seconds: float, text: str) -> None:
    assert text == duration(seconds)


def test_an_unknown_number_is_a_dash_and_not_zero() -> None:
    assert ["-", "0", "-", "0%"] == [number(None), number(0), percent(None), percent(0)]
