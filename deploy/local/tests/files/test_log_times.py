from arks.local.files.log_times import lines_since, time_of

SERVICE = '{"event": "ready", "timestamp": "2026-11-28T13:12:14.836555Z"}'
AT = 1795871534.0


def test_the_lines_of_services_and_engines_have_times() -> None:
    assert AT == int(time_of(SERVICE) or 0)
    assert AT == time_of("[11538] 2026/11/28 13:12:14.566916 [INF] Starting nats-server")
    assert 1000.0 + 66.204 == time_of("1.06.204.014 I slot print_timing: id  2", started_at=1000.0)
    assert time_of("[2026-11-28 13:25:07.953][11614][warning][main] x") is not None
    assert time_of("11539:M 28 Nov 2026 13:11:58.540 * Configuration loaded") is not None
    assert time_of("Traceback (most recent call last):") is None


def test_lines_without_a_time_belong_to_the_line_before_them() -> None:
    lines = ["old", SERVICE, "  more", "[11538] 2026/11/28 13:12:20.5 [INF] x", "  end"]
    assert lines[1:] == lines_since(lines, AT)
    assert lines[3:] == lines_since(lines, AT + 5)
    assert [] == lines_since(lines, AT + 60)
