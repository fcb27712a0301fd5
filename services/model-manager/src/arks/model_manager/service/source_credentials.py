"""Credentials of models' sources: read from Secrets, and which of them a storage path has tried."""

import hashlib
import json

from arks.contracts.resources import ArksModel
from arks.kit.errors import Invalid
from arks.kit.home import Secrets
from arks.kit.key import Key
from arks.model_manager.domain.credentials import Credentials, credential_refs, missing

MAX_REMEMBERED = 16


class SourceCredentials:
    def __init__(self, secrets: Secrets | None) -> None:
        """`secrets`: None where downloads get their credentials from the platform."""
        self._secrets = secrets
        self._tried: dict[str, set[str]] = {}

    async def read(self, model: ArksModel) -> tuple[Credentials, str | None]:
        """The source's credentials, and why they are missing although the model needs some."""
        references = credential_refs(model.spec)
        if not references or self._secrets is None:
            return {}, None
        key = Key(model.metadata.namespace, references[0].secret)
        try:
            values = await self._secrets.read(key)
        except Invalid as error:
            return {}, str(error)
        if values is None:
            return {}, f"Secret {key}, which {references[0].field} names, does not exist"
        found = {ref.variable: (values.get(ref.key) or b"").decode("utf-8", "replace").strip() for ref in references}
        found = {name: value for name, value in found.items() if value}
        fault = missing(references, found)
        return ({}, f"Secret {key} {fault}") if fault is not None else (found, None)

    def is_new(self, storage_path: str, credentials: Credentials) -> bool:
        """Whether no download to this path has tried the credentials: a reason to retry at once."""
        return self._secrets is not None and _digest(credentials) not in self._tried.get(storage_path, set())

    def remember(self, storage_path: str, credentials: Credentials) -> None:
        tried = self._tried.setdefault(storage_path, set())
        if len(tried) >= MAX_REMEMBERED:
            tried.clear()
        tried.add(_digest(credentials))

    def forget(self, storage_path: str) -> None:
        self._tried.pop(storage_path, None)


def _digest(credentials: Credentials) -> str:
    """Recognizes credentials without keeping them in memory."""
    return hashlib.sha256(json.dumps(credentials, sort_keys=True, default=dict).encode()).hexdigest()
