"""Signals of a load report: absent is not 0."""

from typing import get_args

from arks.contracts.load import Signal, set_signal, signal
from arks.events.v1.load_pb2 import ReplicaLoad


def test_a_signal_that_was_not_set_is_none() -> None:
    load = ReplicaLoad()
    set_signal(load, "running_requests", 0)
    set_signal(load, "waiting_requests", None)
    assert 0.0 == signal(load, "running_requests")
    assert signal(load, "waiting_requests") is None


def test_signals_are_the_optional_fields_of_the_message() -> None:
    optional = {field.name for field in ReplicaLoad.DESCRIPTOR.fields if field.has_presence and not field.message_type}
    assert optional == set(get_args(Signal))
