"""Load reports of applications that have nothing to do, recognised without a decision.

A thousand idle endpoints of eight replicas report thousands of times a second. Each report differs from the one before
in its times only, and shows only that the readings are fresh. The times are kept here and become readings when
something needs them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from arks.contracts.load import STALE_SECONDS
from arks.endpoint_router.domain.load import QUEUE_SECONDS
from arks.events.v1.load_pb2 import LoadReport, ReplicaLoad

QUIET_SECONDS = QUEUE_SECONDS
"""After so long without work, means of the load have no more effect."""
TIMES_SECONDS = 0.75
"""Interval at which the times of quiet replicas are read. A replica that does not answer has a problem within 0.6 s,
which is no time."""
_NOT_COMPARED = {"measured_at", "gpu_utilization_ratio", "gpu_memory_used_bytes"}
"""Fields of both messages that no decision depends on."""


@dataclass(slots=True)
class Quiet:
    """The last reports of one application."""

    body: bytes = b""
    """The report without its times; empty if a replica has work or a problem."""
    since: float = 0.0
    """Time of the first of the equal reports, in seconds since the epoch."""
    read_at: float = 0.0
    """Time of the last report whose times were read."""
    newest: LoadReport | None = None
    """The last report, if it is not in the signals yet."""

    def take(self, report: LoadReport) -> bool:
        """Store a report. Returns whether it only confirms what is known; else it has to be read."""
        if not self.body and any(map(_works, report.replicas)):
            return False  # work after work: nothing is compared
        at, body = _seconds(report), _without_times(report)
        same = body == self.body
        if not same or at - self.read_at >= TIMES_SECONDS:
            if any(at - _seconds(load) > STALE_SECONDS / 3 for load in report.replicas):
                self.body = b""  # a replica that does not answer becomes stale, which is a decision
                return False
            self.read_at = at
        if not same:
            self.body, self.since = b"" if any(map(_works, report.replicas)) else body, at
            return False
        if at - self.since < QUIET_SECONDS:
            return False
        self.newest = report
        return True

    def settle(self) -> Mapping[str, float]:
        """Return when each replica was measured according to the last report, once."""
        report, self.newest = self.newest, None
        return {load.name: _seconds(load) for load in report.replicas} if report is not None else {}


def _seconds(message: "LoadReport | ReplicaLoad") -> float:
    return message.measured_at.seconds + message.measured_at.nanos / 1e9


def _works(load: ReplicaLoad) -> bool:
    return bool(load.running_requests or load.waiting_requests or load.problem) or not load.HasField("measured_at")


def _without_times(report: LoadReport) -> bytes:
    """Return what decisions depend on. Protobuf discards fields that a message does not have, faster than Python."""
    read = _Compared.FromString(report.SerializeToString())
    read.DiscardUnknownFields()
    return bytes(read.SerializeToString())


def _compared() -> Any:
    """Define LoadReport without the fields that are not compared."""
    file = descriptor_pb2.FileDescriptorProto(name="arks/compared.proto", package="arks.compared")
    for described in (ReplicaLoad.DESCRIPTOR, LoadReport.DESCRIPTOR):
        kind = file.message_type.add(name=described.name)
        for known in described.fields:
            if known.name not in _NOT_COMPARED:
                own = kind.field.add(name=known.name, number=known.number, type=known.type)
                own.label = own.LABEL_REPEATED if known.is_repeated else own.LABEL_OPTIONAL
                if known.message_type is not None:
                    own.type_name = f".{file.package}.{known.message_type.name}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.LoadReport"))


_Compared = _compared()
