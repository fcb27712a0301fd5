import pytest

from arks.app_deployer.domain.quantity import bytes_in


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8Gi", 8 << 30),
        ("1.5G", 1_500_000_000),
        ("64k", 64_000),
        (4096, 4096),
        ("500m", 0),
        ("", 0),
        (None, 0),
        ("x", 0),
    ],
)
def test_quantities_are_amounts_of_bytes(text: object, expected: int) -> None:
    assert expected == bytes_in(text)
