"""Secrets from the API server, read when needed and never kept."""

import base64
from collections.abc import Mapping

from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import SECRET


class KubeSecrets:
    def __init__(self, api: KubeApi) -> None:
        self._api = api

    async def read(self, key: Key) -> Mapping[str, bytes] | None:
        """The secret's values, or None when there is none. Raises Invalid when we may not read it."""
        found = await self._api.get(SECRET, key)
        if found is None:
            return None
        return {name: base64.b64decode(value) for name, value in found.get("data", {}).items()}
