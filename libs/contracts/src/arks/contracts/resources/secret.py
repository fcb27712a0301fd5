"""Secret: Kubernetes' own kind, which one machine takes too so that manifests stay the same. Values are never shown."""

import base64
import binascii
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PlainSerializer, SecretStr, SerializationInfo

from arks.contracts.resources.meta import Resource

MASK = "**********"


def _dump_secret(value: SecretStr, info: SerializationInfo) -> str:
    return value.get_secret_value() if info.context and info.context.get("reveal") else MASK


Hidden = Annotated[SecretStr, PlainSerializer(_dump_secret, return_type=str)]
"""A value that repr, errors and dumps hide, unless a dump reveals it on request."""


class Secret(Resource):
    """Sensitive key-value pairs (core/v1 Secret)."""

    group: ClassVar[str] = ""
    plural: ClassVar[str] = "secrets"
    singular: ClassVar[str] = "secret"

    api_version: Literal["v1"] = Field(default="v1", description="Version of the core group.")
    kind: Literal["Secret"] = Field(default="Secret", description="Kind of the resource.")
    type: str = Field(default="Opaque", description="Purpose of the values; Arks reads any type.")
    immutable: bool | None = Field(default=None, description="Whether the values can never change.")
    data: dict[str, Hidden] = Field(default_factory=dict, repr=False, description="Values in base64.")
    string_data: dict[str, Hidden] = Field(
        default_factory=dict, repr=False, description="Values in the clear; win over `data`."
    )

    def value(self, key: str) -> str | None:
        """The value in the clear; None if the key is absent or its value is not base64 of UTF-8 text."""
        if (clear := self.string_data.get(key)) is not None:
            return clear.get_secret_value()
        if (encoded := self.data.get(key)) is None:
            return None
        return _decode(encoded.get_secret_value())

    def undecodable_keys(self) -> list[str]:
        """Keys of `data` whose value is not base64 of UTF-8 text."""
        return [key for key, value in self.data.items() if _decode(value.get_secret_value()) is None]


def _decode(encoded: str) -> str | None:
    try:
        return base64.b64decode("".join(encoded.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
