"""One object or message that cannot be read must not end the loop that reads all."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from arks.kit.cache import Unreadable
from arks.kit.faults import Faults


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def faults(registry: CollectorRegistry) -> Faults:
    return Faults(Counter("faults", "Faults", ["source"], registry=registry))


def counted(registry: CollectorRegistry) -> float | None:
    return registry.get_sample_value("faults_total", {"source": "bus"})


def broken() -> Any:
    raise RuntimeError("cannot read sk-0123456789abcdef " + "x" * 1000)


def test_what_can_be_read_is_no_fault(faults: Faults, registry: CollectorRegistry) -> None:
    assert (7, None) == (faults.read("bus", "a", lambda: 7), counted(registry))


def test_whatever_a_reader_raises_is_a_short_fault_without_keys(faults: Faults, registry: CollectorRegistry) -> None:
    found = faults.read("bus", "a", broken)
    assert isinstance(found, Unreadable)
    assert found.fault.startswith("RuntimeError: cannot read sk-[redacted] xxx")
    assert (500, 1) == (len(found.fault), counted(registry))


def test_what_a_reader_found_unreadable_is_counted_and_returned(faults: Faults, registry: CollectorRegistry) -> None:
    unreadable: Unreadable[int] = Unreadable("a newer version wrote it")
    assert unreadable is faults.read("bus", "a", lambda: unreadable)
    assert 1 == counted(registry)


def test_a_message_that_cannot_be_handled_is_counted(faults: Faults, registry: CollectorRegistry) -> None:
    faults.handle("bus", "a", broken)
    faults.failed("bus", "b", RuntimeError())
    assert 2 == counted(registry)
