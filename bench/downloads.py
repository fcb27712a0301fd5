"""Compares a download by Arks with obstore alone, from a server of this machine, in one run.

usage: python -m bench.downloads [MiB] [--rounds N]

obstore alone reads the same ranges by the same number of streams and writes them, with and without a sync at the end;
it checks nothing. Arks checks the SHA-256 and syncs. On a machine without idle processors the time is the CPU time of
all, server included: compare that, too.
"""

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from arks.model_manager.domain.protocol import DownloadRequest, request_to_json
from arks.model_manager.domain.source_kind import HttpFile, SourceKind

MEBIBYTE = 1 << 20
STREAMS = 4
_SERVER = """
import http.server, os, re, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        size = os.path.getsize(sys.argv[1])
        found = re.fullmatch(r"bytes=(\\d+)-(\\d*)", self.headers.get("Range", ""))
        start, end = (int(found[1]), int(found[2] or size - 1) + 1) if found else (0, size)
        self.send_response(206 if found else 200)
        self.send_header("ETag", '"file"')
        self.send_header("Content-Length", str(end - start))
        if found:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        with open(sys.argv[1], "rb") as file:
            while start < end:
                start += os.sendfile(self.connection.fileno(), file.fileno(), start, min(end - start, 1 << 20))
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
url, path, size, sync = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "sync"
store, file, chunk = HTTPStore.from_url(url, client_options={"allow_http": True}), os.open(path, os.O_RDWR | os.O_CREAT), 16 << 20
def fetch(start):
    end = min(size, start + chunk)
    for block in obstore.get(store, "", options={"range": (start, end)}).stream(min_chunk_size=1 << 20):
        start += os.pwrite(file, block, start)
with ThreadPoolExecutor(int(sys.argv[5])) as pool:
    list(pool.map(fetch, range(0, size, chunk)))
if sync:
    os.fsync(file)
"""  # noqa: E501  # a program


def measure(name: str, command: list[str], size_bytes: int, request: bytes = b"") -> float:
    """Run the command, print its figures. Returns seconds."""
    # Python that may write no bytecode compiles all its modules at every start.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, input=request, stdout=subprocess.DEVNULL, env=environment, timeout=600, check=True)
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    print(
        f"  {name:<22} {size_bytes / seconds / 1e6:>6.0f} MB/s  {user:5.2f} s user  {system:5.2f} s system", flush=True
    )
    return seconds


def compare(url: str, directory: Path, size_bytes: int, sha256: str) -> None:
    alone = [sys.executable, "-c", _OBSTORE, url, str(directory / "alone"), str(size_bytes)]
    seconds = []
    for how in ("no sync", "sync"):
        seconds.append(measure(f"obstore alone, {how}", [*alone, how, str(STREAMS)], size_bytes))
        (directory / "alone").unlink()
    target = directory / "model"
    target.mkdir()
    file = HttpFile(url, "m.gguf", sha256)
    request = DownloadRequest(str(target), "f", "m", "", "", kind=SourceKind.HTTP, files=(file,), connections=STREAMS)
    command = [sys.executable, "-m", "arks.model_manager.programs.download"]
    arks = measure("Arks, checked, sync", command, size_bytes, request_to_json(request))
    print(f"  Arks/obstore: {seconds[0] / arks:.2f} without its sync, {seconds[1] / arks:.2f} with it")


def main(size_mebibytes: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        served = Path(scratch) / "served"
        block = os.urandom(MEBIBYTE)
        with served.open("wb") as file:
            file.writelines(block for _ in range(size_mebibytes))
        with served.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        server = subprocess.Popen([sys.executable, "-c", _SERVER, str(served)], stdout=subprocess.PIPE, text=True)
        try:
            port = int(server.stdout.readline()) if server.stdout else 0
            for number in range(rounds):
                print(f"round {number + 1}: {size_mebibytes} MiB, load {os.getloadavg()[0]:.1f}")
                with tempfile.TemporaryDirectory(dir=scratch) as directory:
                    compare(f"http://127.0.0.1:{port}/m", Path(directory), size_mebibytes * MEBIBYTE, digest)
        finally:
            server.kill()
            server.wait()
    print(f"most memory of a process: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.downloads", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("size", nargs="?", type=int, default=1024, metavar="MiB", help="default 1024")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    main(chosen.size, chosen.rounds)
