"""Reads secrets from the API server each time they are needed; none is cached."""

import base64
from collections.abc import Mapping

from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import SECRET


class KubeSecrets:
    def __init__(self, api: KubeApi) -> None:
        self._api = api

    async def read(self, key: Key) -> Mapping[str, bytes] | None:
        """Return the secret's values, or None if it does not exist. Raises Invalid if access is forbidden."""
        found = await self._api.get(SECRET, key)
        if found is None:
            return None
        return {name: base64.b64decode(value) for name, value in found.get("data", {}).items()}
