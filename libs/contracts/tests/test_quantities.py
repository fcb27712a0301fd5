import pytest

from arks.contracts.quantities import human_bytes


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (98_900_000, "98.9 MB"),
        (5.25e9, "5.2 GB"),
        (2e12, "2.0 TB"),
        (5e15, "5000.0 TB"),
    ],
)
def test_a_number_of_bytes_is_written_as(size_bytes: float, text: str) -> None:
    assert text == human_bytes(size_bytes)
