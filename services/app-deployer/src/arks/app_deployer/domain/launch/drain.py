"""The preStop command of a pod: wait until its engine has no more requests.

Runs in the engine's image, so it is plain Python of any version, without packages.
"""

QUIET_SECONDS = 10
"""Time without requests and new tokens after which the pod ends. Longer than a restart of a service or of NATS, during
which requests still arrive. New tokens count too: a gauge alone misses a request that ends between two polls.
"""
MARGIN_SECONDS = 5
"""Part of the grace period that remains for the engine's own end."""
BLIND_SECONDS = 30
"""Wait if the engine does not report whether it has requests."""

_SCRIPT = r"""
import re, sys, time, urllib.request
port, most, quiet = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
sample = r"(?:\{[^}]*\})? (\S+)"
{names}
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

_NAMES = r"""
work = re.compile(
    r"^(?:llamacpp:requests_(?:processing|deferred)|vllm:num_requests_(?:running|waiting)"
    r"|sglang:num_(?:running|queue)_reqs)" + sample, re.M)
done = re.compile(
    r"^(?:llamacpp|vllm|sglang):(?:prompt_tokens|generation_tokens|tokens_predicted)_total" + sample, re.M)
"""
_PROXY_NAMES = r"""
work = re.compile(r"^arks_openai_proxy_in_flight_requests" + sample, re.M)
done = re.compile(r"^arks_openai_proxy_requests_total" + sample, re.M)
"""
"""Its own requests: the page also has the engines' numbers, which other proxies raise too."""
_ARK_NAMES = r"""
work = re.compile(r"^ark_engine_(?:running|waiting)_requests" + sample, re.M)
done = re.compile(r"^ark_engine_(?:prompt|generation)_tokens_total" + sample, re.M)
"""
PAGES = {"engine": _NAMES, "ark-engine": _ARK_NAMES, "openai-proxy": _PROXY_NAMES}
"""Whose page it is. The text of the first must not change without need: a change replaces all engines."""


def command(port: int, grace_seconds: int, quiet_seconds: float = QUIET_SECONDS, *, page: str = "engine") -> list[str]:
    """The command ends after `quiet_seconds` without requests and new tokens; after BLIND_SECONDS without metrics.

    `page`: one of PAGES.
    """
    most = max(1, grace_seconds - MARGIN_SECONDS)
    script = _SCRIPT.replace("{names}", PAGES[page].strip()).replace("{blind}", str(BLIND_SECONDS))
    return ["python3", "-c", script.strip(), str(port), str(most), str(quiet_seconds)]
