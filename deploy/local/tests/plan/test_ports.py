import socket

from arks.local.plan import ports


def test_a_port_in_use_is_replaced() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not ports.is_free(port)
        assert port != ports.choose(("a",), {"a": port})["a"]
        assert (ports.listener_of(port) or "").endswith(")")
