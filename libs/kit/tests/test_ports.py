import socket

import pytest

from arks.kit.ports import free_port


def test_a_port_is_not_returned_twice_before_its_server_could_listen() -> None:
    ports = [free_port() for _ in range(500)]
    assert len(ports) == len(set(ports))


def test_ports_in_use_and_excluded_ones_are_not_returned() -> None:
    port = free_port()
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        with pytest.raises(OSError, match="no free port"):
            free_port(range(port, port + 2), exclude=[port + 1])
