"""List the files of a repository on a hub with Hugging Face's API."""

from typing import Any

import httpx

from arks.kit.errors import reason_of

DEFAULT_HUB = "https://huggingface.co"
_TIMEOUT_SECONDS = 15.0


class HubProblem(Exception):
    """The hub did not list the files; the message has the reason."""

    def __init__(self, message: str, next_step: str) -> None:
        super().__init__(message)
        self.next_step = next_step


def files_of(hub: str | None, repository: str, token: str | None) -> list[str]:
    """Paths of all files of the default branch. `token`: for private repositories. Raises HubProblem."""
    url = f"{(hub or DEFAULT_HUB).rstrip('/')}/api/models/{repository}"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = httpx.get(url, headers=headers, timeout=_TIMEOUT_SECONDS, follow_redirects=True)
        listed: Any = answer.json() if answer.status_code == 200 else {}
    except (httpx.HTTPError, ValueError) as error:
        raise HubProblem(
            f"cannot reach {hub or DEFAULT_HUB}: {reason_of(error)}",
            "check the network and HTTPS_PROXY; `arks run FILE.gguf` serves a local file without it",
        ) from error
    if answer.status_code != 200:
        raise _rejected(answer.status_code, hub or DEFAULT_HUB, repository)
    return [str(item["rfilename"]) for item in listed.get("siblings", []) if "rfilename" in item]


def _rejected(status: int, hub: str, repository: str) -> HubProblem:
    if status in {401, 403}:  # the hub hides private repositories behind 401, like those that do not exist
        return HubProblem(
            f"{hub} gives no access to {repository} ({status}): it does not exist, or it is private or gated",
            "check the spelling; for a private one apply a Secret with the key HF_TOKEN and name it: --token-secret",
        )
    if status == 404:
        return HubProblem(f"{hub} has no repository {repository}", "check the spelling on huggingface.co/models")
    return HubProblem(f"{hub} answered {status} for {repository}", "try again later")
