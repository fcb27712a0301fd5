"""Read a model's files into the node's page cache before its engine starts.

An engine that maps its weights reads them page by page as it touches them, which is slow from shared storage: each page
waits for the network. Several large reads at once use the whole line, and the engine then finds the pages in memory.
Runs in the engine's image, so it is plain Python of any version, without packages.
"""

from collections.abc import Sequence

STREAMS = 8
BLOCK_BYTES = 8 << 20
SHARE_OF_MEMORY = 0.8
"""Of the memory that is available: pages beyond it would push out those that were read before."""
CONTAINER = "read-ahead"

_SCRIPT = r"""
import os, signal, sys, threading, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
def number(path, name=""):
    try:
        with open(path) as page:
            for line in page:
                if line.startswith(name):
                    return int(line[len(name):].split()[0])
    except (OSError, ValueError, IndexError):
        pass
    return None
def memory():
    available = number("/proc/meminfo", "MemAvailable:")
    limits = [number("/sys/fs/cgroup/memory.max"), number("/sys/fs/cgroup/memory/memory.limit_in_bytes")]
    return min([limit for limit in limits if limit] + ([available * 1024] if available else [1 << 62]))
def files(path):
    if os.path.isfile(path):
        return [path]
    found = [os.path.join(where, name) for where, _, names in os.walk(path) for name in names]
    return sorted(name for name in found if os.sep + ".arks" + os.sep not in name[len(path):])
began, budget, lock, read, blocks = time.monotonic(), int(memory() * {share}), threading.Lock(), [0], []
for name in files(sys.argv[1]):
    try:
        size = os.path.getsize(name)
    except OSError:
        continue
    blocks += [(name, start) for start in range(0, min(size, budget), {block})]
    budget -= min(size, budget)
blocks.reverse()
def work():
    buffer = bytearray({block})
    while True:
        with lock:
            if not blocks:
                return
            name, start = blocks.pop()
        try:
            with open(name, "rb", buffering=0) as file:
                file.seek(start)
                count = file.readinto(buffer) or 0
        except OSError as error:
            sys.stderr.write("read-ahead: %s: %s\n" % (name, error.strerror))
            continue
        with lock:
            read[0] += count
threads = [threading.Thread(target=work) for _ in range({streams})]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.stderr.write("read-ahead: %d MB in %.1f s\n" % (read[0] / 1e6, time.monotonic() - began))
sys.stderr.flush()
if sys.argv[2:]:
    os.execvp(sys.argv[2], sys.argv[2:])
"""


def command(python: str, model_path: str, then: Sequence[str] = ()) -> list[str]:
    """Reads what memory holds of the model, then becomes the program `then`. A file that cannot be read is skipped: its
    engine reports it better.
    """
    script = _SCRIPT.replace("{share}", str(SHARE_OF_MEMORY))
    script = script.replace("{block}", str(BLOCK_BYTES)).replace("{streams}", str(STREAMS))
    return [python, "-c", script.strip(), model_path, *then]
