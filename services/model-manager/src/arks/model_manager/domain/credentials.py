"""Which keys of a source's Secret a download gets, and under which names."""

from collections.abc import Mapping
from dataclasses import dataclass

from arks.contracts.resources import ArksModelSpec

Credentials = Mapping[str, str]
"""Values by variable."""


@dataclass(frozen=True, slots=True)
class CredentialRef:
    """One value of a Secret."""

    variable: str
    """Its name in the environment of a worker, and in a request."""
    secret: str
    key: str
    required: bool
    field: str
    """Of the spec that names the Secret, for messages."""


_KEYS: Mapping[str, tuple[tuple[str, bool], ...]] = {
    "modelscope": (("MODELSCOPE_API_TOKEN", True),),
    "s3": (("AWS_ACCESS_KEY_ID", True), ("AWS_SECRET_ACCESS_KEY", True), ("AWS_SESSION_TOKEN", False)),
    "gs": (("GOOGLE_SERVICE_ACCOUNT_KEY", True),),
    "az": (("AZURE_STORAGE_ACCOUNT_KEY", False), ("AZURE_STORAGE_SAS_TOKEN", False)),
    "oci": ((".dockerconfigjson", False), ("USERNAME", False), ("PASSWORD", False)),
    "http": (("AUTHORIZATION", True),),
}
"""Keys of the Secret that `source.<name>.secretRef` names, and whether they are required."""


def credential_refs(spec: ArksModelSpec) -> tuple[CredentialRef, ...]:
    """What a download of this spec needs of a Secret; empty if it names none."""
    if spec.source is None:
        return ()
    hub = spec.source.huggingface
    if hub is not None and hub.token_secret_ref is not None:
        reference = hub.token_secret_ref
        field = "source.huggingface.tokenSecretRef"
        return (CredentialRef("HF_TOKEN", reference.name, reference.key, required=True, field=field),)
    for name, keys in _KEYS.items():
        secret = getattr(getattr(spec.source, name), "secret_ref", None)
        if secret is not None:
            return tuple(
                CredentialRef(variable_of(key), secret.name, key, required, f"source.{name}.secretRef")
                for key, required in keys
            )
    return ()


def variable_of(key: str) -> str:
    """`.dockerconfigjson` is no name of a variable."""
    return "DOCKER_CONFIG_JSON" if key == ".dockerconfigjson" else key


VARIABLES = ("HF_TOKEN", *(variable_of(key) for keys in _KEYS.values() for key, _ in keys))
"""All variables that a worker may find in its environment."""


def missing(references: tuple[CredentialRef, ...], found: Credentials) -> str | None:
    """Why these values are not enough; None if they are."""
    lacking = [ref for ref in references if ref.required and not found.get(ref.variable)]
    if lacking:
        return f"has no value under {lacking[0].key}"
    if references and not found:
        return f"has no value under any of {', '.join(ref.key for ref in references)}"
    return None
