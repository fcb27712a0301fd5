"""Hub tokens of models: read from Secrets, and which of them a storage path has tried."""

import hashlib

from arks.contracts.resources import ArksModel
from arks.kit.errors import Invalid
from arks.kit.home import Secrets
from arks.kit.key import Key

MAX_REMEMBERED_TOKENS = 16


class HubTokens:
    def __init__(self, secrets: Secrets | None) -> None:
        """`secrets`: None where downloads get the hub's token from the platform."""
        self._secrets = secrets
        self._tried: dict[str, set[str]] = {}

    async def read(self, model: ArksModel) -> tuple[str | None, str | None]:
        """The hub's token, and why it is missing although the model needs one."""
        source = model.spec.source
        reference = source.huggingface.token_secret_ref if source and source.huggingface else None
        if reference is None or self._secrets is None:
            return None, None
        key = Key(model.metadata.namespace, reference.name)
        try:
            values = await self._secrets.read(key)
        except Invalid as error:
            return None, str(error)
        if values is None:
            return None, f"Secret {key}, which source.huggingface.tokenSecretRef names, does not exist"
        token = (values.get(reference.key) or b"").decode("utf-8", "replace").strip()
        return (token, None) if token else (None, f"Secret {key} has no value under {reference.key}")

    def is_new(self, storage_path: str, token: str | None) -> bool:
        """Whether no download to this path has tried the token: a reason to retry at once."""
        return self._secrets is not None and _digest(token) not in self._tried.get(storage_path, set())

    def remember(self, storage_path: str, token: str | None) -> None:
        tried = self._tried.setdefault(storage_path, set())
        if len(tried) >= MAX_REMEMBERED_TOKENS:
            tried.clear()
        tried.add(_digest(token))

    def forget(self, storage_path: str) -> None:
        self._tried.pop(storage_path, None)


def _digest(token: str | None) -> str:
    """Recognizes a token without keeping it in memory."""
    return hashlib.sha256((token or "").encode()).hexdigest()
