"""What a pod runs before it ends (preStop): wait until its engine works on nothing more.

Runs in the engine's image, so it is plain Python of any version, without imports of ours.
"""

QUIET_SECONDS = 10
"""So long nothing new has come: whoever sends to the pod knows that it leaves. Longer than a service of ours or the bus
needs to start again: while they do, requests still come here. A gauge alone misses what comes and ends between looks.
"""
MARGIN_SECONDS = 5
"""Of the grace period, left for the engine's own end."""
BLIND_SECONDS = 30
"""How long is waited where nobody says whether there is work."""

_SCRIPT = r"""
import re, sys, time, urllib.request
port, most, quiet = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
sample = r"(?:\{[^}]*\})? (\S+)"
work = re.compile(
    r"^(?:llamacpp:requests_(?:processing|deferred)|vllm:num_requests_(?:running|waiting)"
    r"|sglang:num_(?:running|queue)_reqs)" + sample, re.M)
done = re.compile(
    r"^(?:llamacpp|vllm|sglang):(?:prompt_tokens|generation_tokens|tokens_predicted)_total" + sample, re.M)
began = quiet_since = time.monotonic()
before = None
while time.monotonic() - began < most:
    try:
        with urllib.request.urlopen("http://127.0.0.1:" + port + "/metrics", timeout=3) as page:
            text = page.read().decode("utf-8", "replace")
    except OSError:
        text = ""
    now, found, tokens = time.monotonic(), work.findall(text), done.findall(text)
    if found:
        if sum(map(float, found)) or tokens != before:
            quiet_since = now
        before = tokens
        if now - quiet_since >= quiet:
            break
    elif now - began > {blind}:
        break
    time.sleep(0.5)
"""


def command(port: int, grace_seconds: int, quiet_seconds: float = QUIET_SECONDS) -> list[str]:
    """An engine without work and without new tokens for `quiet_seconds` ends it; a silent one has BLIND_SECONDS."""
    most = max(1, grace_seconds - MARGIN_SECONDS)
    script = _SCRIPT.replace("{blind}", str(BLIND_SECONDS))
    return ["python3", "-c", script.strip(), str(port), str(most), str(quiet_seconds)]
