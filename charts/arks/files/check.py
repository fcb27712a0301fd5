"""`helm test`: checks that every service is ready and that the gateway rejects requests without a key.

usage: check.py GATEWAY SERVICE...   (base URLs)
"""

import json
import ssl
import sys
import time
import urllib.error
import urllib.request

TRIES_SECONDS = 60.0


# The certificate is for the name that clients use, not for the Service's; the cluster network vouches for the server.
UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5, context=UNVERIFIED) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def not_ready(service: str) -> str:
    status, text = get(f"{service}/readyz")
    return "" if status == 200 else f"{status} {text.strip()}"


def not_closed(gateway: str) -> str:
    """The problem if a request without a key is not rejected by token-quota with an error in OpenAI's format, or ""."""
    status, text = get(f"{gateway}/v1/models")
    try:
        message = json.loads(text)["error"]["message"]
    except (ValueError, LookupError, TypeError):
        message = ""
    return "" if status == 401 and message else f"{status} {text.strip()} (401 and OpenAI's error expected)"


def main() -> int:
    checks = [(sys.argv[1], not_closed), *((service, not_ready) for service in sys.argv[2:])]
    deadline = time.monotonic() + TRIES_SECONDS
    failed = 0
    for address, check in checks:
        while (problem := check(address)) and time.monotonic() < deadline:
            time.sleep(0.5)
        print(f"{'FAIL' if problem else 'ok  '} {address} {problem}")
        failed += bool(problem)
    return 1 if failed else 0


sys.exit(main())
