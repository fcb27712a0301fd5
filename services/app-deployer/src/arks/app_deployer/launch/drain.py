"""What a pod runs before it ends (preStop): wait until its engine works on nothing more.

Runs in the engine's image, so it is plain Python of any version, without imports of ours.
"""

SETTLE_SECONDS = 2
"""From the pod's leaving until surely nothing new is sent to it."""
MARGIN_SECONDS = 5
"""Of the grace period, left for the engine's own end."""
BLIND_SECONDS = 30
"""How long is waited where nobody says whether there is work."""

_SCRIPT = r"""
import re, sys, time, urllib.request
port, most = sys.argv[1], float(sys.argv[2])
work = re.compile(
    r"^(?:llamacpp:requests_(?:processing|deferred)|vllm:num_requests_(?:running|waiting)"
    r"|sglang:num_(?:running|queue)_reqs)(?:\{[^}]*\})? (\S+)", re.M)
end = time.time() + most
time.sleep(min({settle}, most))
idle = 0
blind = time.time() + {blind}
while time.time() < end and idle < 3:
    try:
        with urllib.request.urlopen("http://127.0.0.1:" + port + "/metrics", timeout=3) as page:
            found = work.findall(page.read().decode("utf-8", "replace"))
    except OSError:
        found = []
    if found:
        idle = idle + 1 if sum(map(float, found)) == 0 else 0
    elif time.time() > blind:
        break
    time.sleep(0.5)
"""


def command(port: int, grace_seconds: int) -> list[str]:
    """Three looks in a row at an idle engine end it; an engine that says nothing is given BLIND_SECONDS."""
    most = max(1, grace_seconds - MARGIN_SECONDS)
    script = _SCRIPT.replace("{settle}", str(SETTLE_SECONDS)).replace("{blind}", str(BLIND_SECONDS))
    return ["python3", "-c", script.strip(), str(port), str(most)]
