import os
import socket
import subprocess
import sys
from pathlib import Path

from arks.kit.ports import free_port
from arks.kit.proc import children_of, descendants, listeners, name_of, parents, processes

TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 111 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 222 1 0 100 0 0 10 0
"""


def add(proc: Path, pid: int, parent: int, *, name: str = "engine", state: str = "S", inode: int | None = None) -> None:
    directory = proc / str(pid)
    (directory / "fd").mkdir(parents=True)
    (directory / "stat").write_text(f"{pid} ({name}) {state} {parent} 0 0")
    (directory / "comm").write_text(f"{name}\n")
    if inode is not None:
        (directory / "fd" / "3").symlink_to(f"socket:[{inode}]")


def test_listeners_are_found_by_their_sockets(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(TCP)
    add(tmp_path, 7, 1, inode=111)
    add(tmp_path, 8, 1, inode=222)
    assert {8080: {7}, 9999: set()} == listeners([8080, 9999], tmp_path)


def test_this_process_listens_on_its_own_port() -> None:
    port = free_port()
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        server.listen()
        assert {port: {os.getpid()}} == listeners([port])


def test_a_name_may_hold_brackets(tmp_path: Path) -> None:
    add(tmp_path, 7, 3, name="a) R 9 (b")
    assert {7: 3} == parents(tmp_path)
    assert "a) R 9 (b" == name_of(7, tmp_path)
    assert name_of(8, tmp_path) is None


def test_descendants_come_nearest_first_and_without_zombies(tmp_path: Path) -> None:
    for pid, parent in ((2, 1), (3, 2), (4, 3), (5, 9)):
        add(tmp_path, pid, parent)
    add(tmp_path, 6, 2, state="Z")
    assert [3] == children_of(2, tmp_path)
    assert [2, 3, 4] == descendants(1, tmp_path)


def test_children_of_this_process_are_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert os.getpid() == parents()[child.pid]
        assert child.pid in children_of(os.getpid())
        assert child.pid in {process.pid for process in processes()}
