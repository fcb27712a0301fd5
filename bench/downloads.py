"""Compares a download by Arks with obstore and hf_transfer alone, from a server of this machine, in one run.

usage: python -m bench.downloads [MiB] [--rounds N] [--mbit RATE ...]

All write the file to the same disk, with the same number of streams and ranges of the same size, obstore in blocks of
the same size too, each in a process of its own whose start counts. Arks checks the SHA-256 and syncs; the others check
nothing, and obstore is measured with and without a sync at the end. The order changes with each round; ratios are of
one round, the median of them is shown.

The server sends at most RATE Mbit/s (0: as fast as it can) over all connections. Without a limit the time is the CPU
time of all, server included, on a machine with few processors: so the CPU time is shown, and `limit`, which is the
speed of obstore in relation to one that needs the time of the hash in addition, if only processors count.
"""

import argparse
import hashlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from arks.model_manager.domain.protocol import DownloadRequest, request_to_json
from arks.model_manager.domain.source_kind import HttpFile, SourceKind
from arks.model_manager.programs.partial_file import chunk_bytes

MEBIBYTE = 1 << 20
STREAMS = 4
RATES = (0, 5_000, 2_500, 1_000)
ARKS, OBSTORE, OBSTORE_SYNC, HF_TRANSFER = "Arks, checked, sync", "obstore", "obstore, sync", "hf_transfer"
_SERVER = """
import http.server, os, re, sys, threading, time
path, rate = sys.argv[1], int(sys.argv[2]) * 125_000
lock, free_at = threading.Lock(), [0.0]
def pace(count):
    if not rate:
        return
    with lock:
        free_at[0] = until = max(time.monotonic(), free_at[0]) + count / rate
    time.sleep(max(0.0, until - time.monotonic()))
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_HEAD(self):
        self.answer(False)
    def do_GET(self):
        self.answer(True)
    def answer(self, body):
        size = os.path.getsize(path)
        found = re.fullmatch(r"bytes=(\\d+)-(\\d*)", self.headers.get("Range", ""))
        start, end = (int(found[1]), min(size, int(found[2] or size - 1) + 1)) if found else (0, size)
        self.send_response(206 if found else 200)
        self.send_header("ETag", '"file"')
        self.send_header("Content-Length", str(end - start))
        if found:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        if not body:
            return
        with open(path, "rb") as file:
            while start < end:
                sent = os.sendfile(self.connection.fileno(), file.fileno(), start, min(end - start, 1 << 20))
                start += sent
                pace(sent)
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        pass
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
_OBSTORE = """
import os, sys, obstore
from concurrent.futures import ThreadPoolExecutor
from obstore.store import HTTPStore
url, path, size, sync, streams, chunk = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], *map(int, sys.argv[5:])
store, file = HTTPStore.from_url(url, client_options={"allow_http": True}), os.open(path, os.O_RDWR | os.O_CREAT)
def fetch(start):
    end = min(size, start + chunk)
    for block in obstore.get(store, "", options={"range": (start, end)}).stream(min_chunk_size=256 << 10):
        start += os.pwrite(file, block, start)
with ThreadPoolExecutor(streams) as pool:
    list(pool.map(fetch, range(0, size, chunk)))
if sync == "sync":
    os.fsync(file)
"""
_HF_TRANSFER = """
import sys, hf_transfer
hf_transfer.download(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
"""


@dataclass(frozen=True)
class Result:
    seconds: float
    cpu_seconds: float
    memory_bytes: int


def measure(command: list[str], request: bytes = b"") -> Result:
    """Of one process, from its start to its end."""
    # Python that may write no bytecode compiles all its modules at every start.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment) as process:
        if process.stdin is not None:
            process.stdin.write(request)
            process.stdin.close()
        _, status, used = os.wait4(process.pid, 0)
        seconds, process.returncode = time.monotonic() - began, status
    if status:
        raise RuntimeError(f"{command[:3]} ended with {status}")
    return Result(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def run_all(url: str, directory: Path, size_bytes: int, sha256: str, turn: int) -> dict[str, Result]:
    """Each of them once, from another one first in each turn."""
    into, chunk = directory / "alone", str(chunk_bytes(size_bytes))
    obstore = [sys.executable, "-c", _OBSTORE, url, str(into), str(size_bytes)]
    alone = {
        OBSTORE: [*obstore, "no", str(STREAMS), chunk],
        OBSTORE_SYNC: [*obstore, "sync", str(STREAMS), chunk],
        HF_TRANSFER: [sys.executable, "-c", _HF_TRANSFER, url, str(into), str(STREAMS), chunk],
    }
    target = directory / f"model-{turn}"
    target.mkdir()
    file = HttpFile(url, "m.gguf", sha256)
    request = DownloadRequest(str(target), "f", "m", "", "", kind=SourceKind.HTTP, files=(file,), connections=STREAMS)
    commands = alone | {ARKS: [sys.executable, "-m", "arks.model_manager.programs.download"]}
    names = list(commands)
    results = {}
    for name in names[turn % len(names) :] + names[: turn % len(names)]:
        results[name] = measure(commands[name], request_to_json(request) if name == ARKS else b"")
        os.sync()  # what one has left unwritten is not the next one's
        for made in (into, target / "m.gguf"):  # each finds as much free memory for its file as the others
            made.unlink(missing_ok=True)
    return results


def report(rounds: list[dict[str, Result]], size_bytes: int, hash_seconds: float, server_seconds: float) -> None:
    for name in rounds[0]:
        found = [results[name] for results in rounds]
        seconds = statistics.median(result.seconds for result in found)
        cpu = statistics.median(result.cpu_seconds for result in found)
        ratio = statistics.median(results[name].seconds / results[ARKS].seconds for results in rounds)
        shown = "" if name == ARKS else f"  Arks/{name} {ratio:.2f}"
        memory = max(result.memory_bytes for result in found) / MEBIBYTE
        print(f"  {name:<20} {size_bytes / seconds / 1e6:>6.0f} MB/s  {cpu:5.2f} s CPU  {memory:4.0f} MiB{shown}")
    alone = statistics.median(results[OBSTORE].cpu_seconds for results in rounds) + server_seconds
    print(f"  server {server_seconds:.2f} s CPU, hash {hash_seconds:.2f} s: limit {alone / (alone + hash_seconds):.2f}")


def compare(served: Path, sha256: str, rate_mbit: int, rounds: int, hash_seconds: float) -> None:
    size_bytes = served.stat().st_size
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(served), str(rate_mbit)], stdout=subprocess.PIPE, text=True
    )
    try:
        url = f"http://127.0.0.1:{int(server.stdout.readline()) if server.stdout else 0}/m"
        with tempfile.TemporaryDirectory(
            dir=served.parent
        ) as directory:  # unmeasured: the first one has to find memory
            run_all(url, Path(directory), size_bytes, sha256, 0)
        found = []
        before = cpu_of(server.pid)
        for turn in range(rounds):
            with tempfile.TemporaryDirectory(dir=served.parent) as directory:
                found.append(run_all(url, Path(directory), size_bytes, sha256, turn))
        served_each = (cpu_of(server.pid) - before) / rounds / len(found[0])
        print(f"{f'{rate_mbit} Mbit/s' if rate_mbit else 'no limit'}, load {os.getloadavg()[0]:.1f}")
        report(found, size_bytes, hash_seconds, served_each)
    finally:
        server.kill()
        server.wait()


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(size_mebibytes: int, rounds: int, rates: list[int]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        served = Path(scratch) / "served"
        block = os.urandom(MEBIBYTE)
        with served.open("wb") as file:
            file.writelines(block for _ in range(size_mebibytes))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        digest = hashlib.sha256()
        for _ in range(size_mebibytes):
            digest.update(block)
        hash_seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
        print(f"{size_mebibytes} MiB, {STREAMS} streams, {os.cpu_count()} processors, {rounds} rounds")
        for rate in rates:
            compare(served, digest.hexdigest(), rate, rounds, hash_seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.downloads", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("size", nargs="?", type=int, default=1024, metavar="MiB", help="default 1024")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--mbit", type=int, nargs="*", default=RATES, help="0: no limit")
    chosen = parser.parse_args()
    main(chosen.size, chosen.rounds, list(chosen.mbit))
