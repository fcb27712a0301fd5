"""The usage log and its rotated segments are read by start."""

from pathlib import Path

from bench.admitted import Admitted, admitted


def line(start: str, token: str, lease: str) -> str:
    return f"id\t{start}\t9\t1\t200\t-\t127.0.0.1:1\tcompletions\t0\tdefault/m/{token}/{lease}/3/4\te,1,2\n"


def test_requests_of_all_segments_come_by_their_start(tmp_path: Path) -> None:
    log = tmp_path / "usage.log"
    log.write_text(line("120.500", "tom", "a1") + "half a li")
    log.with_name("usage.log.1").write_text(line("60.001", "ann", "-"))
    log.with_name("usage.log.starts").write_text("L\n")
    log.with_name("usage.log.state").write_bytes(b"\xff")
    assert admitted(log) == [Admitted("ann", False, 60_001), Admitted("tom", True, 120_500)]
    assert [request.minute for request in admitted(log)] == [1, 2]
