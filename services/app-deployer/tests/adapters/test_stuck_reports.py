from collections.abc import Callable
from typing import Any, cast

from arks.app_deployer.adapters.stuck_reports import subscribe_stuck
from arks.contracts.load import STUCK_SECONDS
from arks.contracts.subjects import STUCK_SUBJECTS
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.bus import Bus
from arks.kit.key import Key


class FakeBus:
    async def subscribe(self, subjects: str, take: Callable[[bytes], None]) -> None:
        assert STUCK_SUBJECTS == subjects
        self.take = take


async def test_only_the_stuck_replicas_of_a_report_are_ended() -> None:
    bus, ended = FakeBus(), list[Any]()
    await subscribe_stuck(cast("Bus", bus), lambda *stuck: ended.append(stuck))
    report = LoadReport(namespace="team", application="chat")
    report.replicas.add(name="chat-0", port=1, stalled_seconds=STUCK_SECONDS - 1)
    report.replicas.add(name="chat-1", port=2, stalled_seconds=STUCK_SECONDS)
    bus.take(report.SerializeToString())
    assert [(Key("team", "chat"), "chat-1", 2, "it had requests and made no step for 600 s")] == ended
