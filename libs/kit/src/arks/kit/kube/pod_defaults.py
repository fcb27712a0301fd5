"""What a platform gives every pod in its tenants' namespaces, where the tenant gives nothing. Pure."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from arks.kit.types import Json

_CA_VOLUME = "arks-ca"
_CA_DIRECTORY = "/etc/arks/ca"
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Read by Python's ssl and httpx, by requests, by curl; of them only an engine's own settings are missing."""


class CaBundle(BaseModel):
    """Certificates of a ConfigMap that has to exist in each tenant's namespace."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    config_map: str
    key: str = "ca.crt"


class PodDefaults(BaseModel):
    """Fields as Kubernetes names them. A pod keeps what it has; lists get what they lack, by name or as a whole."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    image_pull_secrets: list[Json] = Field(default_factory=list)
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[Json] = Field(default_factory=list)
    priority_class_name: str = ""
    runtime_class_name: str = ""
    scheduler_name: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    pod_security_context: Json = Field(default_factory=dict)
    security_context: Json = Field(default_factory=dict)
    """Of each container."""
    resources: dict[str, dict[str, str | float]] = Field(default_factory=dict)
    """Of each container: `requests` and `limits` of resources for which it has neither."""
    env: list[Json] = Field(default_factory=list)
    """Of each container: HTTPS_PROXY, NO_PROXY, ..."""
    ca_bundle: CaBundle | None = None

    def apply(self, template: Json) -> Json:
        """Return the pod template with the defaults."""
        metadata, pod = template.get("metadata", {}), template["spec"]
        for name in ("labels", "annotations"):
            if given := getattr(self, name):
                metadata = {**metadata, name: {**given, **metadata.get(name, {})}}
        return {**template, "metadata": metadata, "spec": self._pod(pod)}

    def _pod(self, pod: Json) -> Json:
        made: Json = {**pod, "containers": [self._container(container) for container in pod["containers"]]}
        if "initContainers" in pod:
            made["initContainers"] = [self._container(container) for container in pod["initContainers"]]
        plain = {
            "nodeSelector": self.node_selector,
            "securityContext": self.pod_security_context,
        }
        for name, mapping in plain.items():
            if mapping:
                made[name] = {**mapping, **pod.get(name, {})}
        lists = {"imagePullSecrets": self.image_pull_secrets, "tolerations": self.tolerations}
        for name, items in lists.items():
            if items:
                made[name] = _with(pod.get(name, []), items)
        words = {
            "priorityClassName": self.priority_class_name,
            "runtimeClassName": self.runtime_class_name,
            "schedulerName": self.scheduler_name,
        }
        for name, word in words.items():
            if word:
                made.setdefault(name, word)
        if self.ca_bundle is not None:
            source = {"name": self.ca_bundle.config_map, "items": [{"key": self.ca_bundle.key, "path": "ca.crt"}]}
            made["volumes"] = [*pod.get("volumes", []), {"name": _CA_VOLUME, "configMap": source}]
        return made

    def _container(self, container: Json) -> Json:
        made = dict(container)
        known = {variable["name"] for variable in container.get("env", [])}
        if variables := [variable for variable in self._variables() if variable["name"] not in known]:
            made["env"] = [*container.get("env", []), *variables]
        if self.security_context:
            made["securityContext"] = {**self.security_context, **container.get("securityContext", {})}
        if self.resources:
            made["resources"] = self._amounts(container.get("resources", {}))
        if self.ca_bundle is not None:
            mount = {"name": _CA_VOLUME, "mountPath": _CA_DIRECTORY, "readOnly": True}
            made["volumeMounts"] = [*container.get("volumeMounts", []), mount]
        return made

    def _variables(self) -> list[Json]:
        bundle = [{"name": name, "value": f"{_CA_DIRECTORY}/ca.crt"} for name in _CA_VARIABLES]
        return [*self.env, *(bundle if self.ca_bundle is not None else [])]

    def _amounts(self, given: Json) -> Json:
        """A default limit beside a request of the tenant's could be less than it, so a resource has both or none."""
        known = {name for amounts in (given.get("requests", {}), given.get("limits", {})) for name in amounts}
        made = dict(given)
        for kind, amounts in self.resources.items():
            if missing := {name: amount for name, amount in amounts.items() if name not in known}:
                made[kind] = {**given.get(kind, {}), **missing}
        return made


def _with(given: Sequence[Json], items: Sequence[Json]) -> list[Json]:
    return [*given, *(item for item in items if item not in given)]


NO_DEFAULTS = PodDefaults()
