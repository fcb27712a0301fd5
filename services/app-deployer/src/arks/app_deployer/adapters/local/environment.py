"""The environment of an engine on this machine, from its spec and the Secrets that this names."""

from collections.abc import Mapping
from typing import Any

from arks.app_deployer.adapters.local.runtimes import Refused
from arks.app_deployer.domain.workload import Refusal
from arks.contracts.manifests.one_machine import SECRET_REF
from arks.contracts.resources import ArksInstanceSpec
from arks.kit.errors import Invalid
from arks.kit.home import Secrets
from arks.kit.key import Key

ENVIRONMENT_BAD = "EnvironmentBad"


async def environment_of(spec: ArksInstanceSpec, namespace: str, secrets: Secrets) -> dict[str, str]:
    """Variables with a value or a key of a Secret; other sources need Kubernetes, as the status notes.

    Raises Refused for a Secret or key that does not exist, unless it is `optional`, as the kubelet does. No message
    has a value.
    """
    found: dict[str, str] = {}
    for variable in spec.env:
        value = variable.value
        reference = (variable.value_from or {}).get(SECRET_REF)
        if reference is not None:
            value = await _value(variable.name, reference, namespace, secrets)
        if value is not None:
            found[variable.name] = value
    return found


async def _value(variable: str, reference: Any, namespace: str, secrets: Secrets) -> str | None:
    """None: it is optional and does not exist. Raises Refused."""
    given: Mapping[str, Any] = reference if isinstance(reference, Mapping) else {}
    name, key = given.get("name"), given.get("key")
    if not (isinstance(name, str) and name and isinstance(key, str) and key):
        raise _refused(variable, f"{SECRET_REF} needs name and key")
    try:
        values = await secrets.read(Key(namespace, name))
        value = None if values is None else values.get(key)
        text = None if value is None else value.decode()
    except Invalid as error:
        raise _refused(variable, str(error)) from None
    except UnicodeDecodeError:
        raise _refused(variable, f"key {key} of Secret {name} is not text") from None
    if text is not None and "\0" in text:
        raise _refused(variable, f"key {key} of Secret {name} has a zero byte")
    if text is None and given.get("optional") is not True:
        missing = f"Secret {name} does not exist" if values is None else f"Secret {name} has no key {key}"
        raise _refused(variable, f"{missing}; apply it, or set optional: true")
    return text


def _refused(variable: str, why: str) -> Refused:
    return Refused(Refusal(ENVIRONMENT_BAD, f"instanceSpec.env {variable}: {why}"))
