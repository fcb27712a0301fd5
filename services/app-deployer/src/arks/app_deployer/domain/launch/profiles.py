"""Runtime profiles: how an engine of a runtime and a range of versions is started, as data. Pure.

The built-in ones are in adapters/runtime_profiles; those of an operator come first.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from arks.app_deployer.domain.launch import lines
from arks.contracts.resources import Runtime
from arks.contracts.uses import USES

ENGINE_PORT = 8080
Page = Literal["ark-engine", "openai-proxy"]
"""Pages by which pods of ARK see whether they have requests; see drain.PAGES."""
_ANY = frozenset({"model", "served", "arguments", "port"})
_HOSTS = frozenset({"prefillHost", "decodeHost"})
_VALUES = {
    "machine": _ANY | {"tensorParallelSize", "loading", "host", "python", "slots", "threads"},
    "router": _ANY | _HOSTS | {"namespace", "enginePort", "metricsPort", "prefillSelector", "decodeSelector"},
}
"""Names that a role's command may contain besides options, where they differ from those of engines."""


class BadProfiles(Exception):
    """The message names the profile and its fault."""


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


class Line(_Model):
    """A command: words, or a line for a shell where it needs one."""

    exec: str = ""
    shell: str = ""

    @model_validator(mode="after")
    def _one(self) -> "Line":
        if bool(self.exec) == bool(self.shell):
            raise ValueError("give either exec or shell")
        return self

    @property
    def text(self) -> str:
        return self.exec or self.shell

    def command(self, values: lines.Values) -> tuple[str, ...]:
        if self.exec:
            return tuple(lines.exec_words(self.exec, values))
        return ("/bin/bash", "-c", lines.shell_line(self.shell, values))


class Commands(_Model):
    """Commands by role. A role that is absent is not supported."""

    one_node: Line | None = None
    """A replica of one node; default: as leader."""
    leader: Line | None = None
    worker: Line | None = None
    """Of the other nodes of a replica; without it a replica has one node."""
    prefill: Line | None = None
    """Disaggregated only: the leader of this stage, as is the next; default: as other leaders."""
    decode: Line | None = None
    router: Line | None = None
    """Disaggregated only."""
    machine: Line | None = None
    """One machine without Kubernetes."""

    def leader_of(self, stage: str, size: int) -> Line | None:
        """`stage`: prefill or decode. `size`: nodes of a replica."""
        line: Line | None = getattr(self, stage)
        return line or (self.one_node if size == 1 and self.one_node is not None else self.leader)

    def given(self) -> dict[str, Line]:
        """By role."""
        return {role: line for role in type(self).model_fields if (line := getattr(self, role)) is not None}


class Option(_Model):
    """Words that a line contains under a condition."""

    words: str
    when: str = ""
    """Name of a value that must be set."""
    unless: str = ""
    """Text in the user's arguments that replaces it."""

    def expanded(self, values: lines.Values) -> list[str]:
        if self.when and not values.get(self.when):
            return []
        if self.unless and self.unless in " ".join(values["arguments"]):
            return []
        return lines.exec_words(self.words, values)


class LoadingOption(_Model):
    """Words of an engine's command for one way to load weights."""

    words: str = ""
    """Empty: the engine does it without."""
    versions: str = ""
    """A range, as the profile's."""

    @model_validator(mode="after")
    def _range(self) -> "LoadingOption":
        _versions(self.versions)
        return self


class SharedMemory(_Model):
    """Shared memory for processes that share a model; a container has 64 MiB otherwise."""

    always: bool = False
    options: tuple[str, ...] = ()
    """Arguments that make several processes, each with a number above 1."""
    size_limit: str | None = None
    """None: as much as the container's memory limit allows."""


class RouterPods(_Model):
    """The pods of a disaggregated application's router."""

    image: str = ""
    """Default image; empty: the default image of the engines."""
    image_of_engines: bool = False
    """The default image is `runtimeImage`, if the spec has one."""
    readiness_path: str = "/readiness"
    drain: Page | Literal["sleep"] = "sleep"
    """As of engines."""
    metrics: Runtime | None = None
    """Runtime whose names its metrics have; None: it has none of an engine."""
    watches_pods: bool = True
    """It finds engines by watching pods, so its account may."""
    env: tuple[dict[str, Any], ...] = ()


def _versions(text: str) -> str:
    try:
        SpecifierSet(text)
    except InvalidSpecifier as error:
        raise ValueError(str(error)) from error
    return text


def _uses(names: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := sorted(set(names) - set(USES)):
        raise ValueError(f"unknown: {', '.join(unknown)}; there are {', '.join(sorted(USES))}")
    return names


class Profile(_Model):
    name: Annotated[str, Field(min_length=1)]
    runtime: Runtime
    disaggregated: bool = False
    """For ArksDisaggregatedApplications."""
    note: str = ""
    """A text in the status of each application that uses it."""
    versions: Annotated[str, AfterValidator(_versions)] = ""
    """A range as `>=0.19,<1`; empty: all versions, and images of an unknown one."""
    image: str = ""
    """Default image; empty: that of the runtime's other profile."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    commands: Commands
    program: str = ""
    """What must be installed on a machine with a GPU; empty: nothing, and no GPU is needed."""
    options: dict[str, Option] = Field(default_factory=dict)
    loading: dict[Literal["streamer", "fastsafetensors", "mmap"], tuple[LoadingOption, ...]] = Field(
        default_factory=dict
    )
    """By `spec.loading`, the words of {loading}: the first whose versions fit. Absent: that is refused."""
    env: tuple[dict[str, Any], ...] = ()
    """After the user's, unless the user sets the same variable."""
    port: Annotated[int, Field(ge=1, le=65535)] = ENGINE_PORT
    readiness: dict[str, Any] | None = None
    """A readinessProbe; default: GET /health at the port."""
    liveness: dict[str, Any] | None = None
    drain: Literal["metrics", "sleep"] | Page = "metrics"
    """How a pod waits for the end of its requests: by its metrics, or a fixed time where it has none.

    `metrics` is the page of vLLM, SGLang or llama.cpp.
    """
    metrics: Runtime | None = None
    """Runtime whose names of metrics it has; None: its own."""
    unsupported: Annotated[tuple[str, ...], AfterValidator(_uses)] = ()
    """What its engines take in a request and do not keep, as in `arks.contracts.uses`: such requests are refused."""
    volumes: tuple[dict[str, Any], ...] = ()
    volume_mounts: tuple[dict[str, Any], ...] = ()
    security_context: dict[str, Any] = Field(default_factory=dict)
    """Of the container, unless the user gives one."""
    shared_memory: SharedMemory | None = None
    router: RouterPods = RouterPods()
    stage_services: bool = False
    """Each stage has a name whose addresses are those of its ready leaders: {prefillHost}, {decodeHost}."""

    @model_validator(mode="after")
    def _known_names(self) -> "Profile":
        engine = _ANY | ({"stage", "kvRole", *_HOSTS} if self.disaggregated else {"tensorParallelSize", "loading"})
        for role, line in self.commands.given().items():
            named = lines.names(line.text)
            used = named.union(*(lines.names(self.options[name].words) for name in named & set(self.options)))
            if unknown := used - set(self.options) - _VALUES.get(role, engine):
                raise ValueError(f"the command of {role} has names without a value: {', '.join(sorted(unknown))}")
        loads = any(option.words for options in self.loading.values() for option in options)
        if loads and not any("loading" in lines.names(line.text) for line in self.commands.given().values()):
            raise ValueError("loading is given, and no command has {loading}")
        return self

    @property
    def dialect(self) -> Runtime:
        """The runtime whose names its metrics have."""
        return self.metrics or self.runtime

    def command(self, line: Line, values: lines.Values) -> tuple[str, ...]:
        """`values`: of the role that the line is of."""
        used = lines.names(line.text) & set(self.options)
        return line.command({**values, **{name: self.options[name].expanded(values) for name in used}})

    @property
    def starts_pods(self) -> bool:
        """Whether it is for Kubernetes, not for one machine only."""
        commands = self.commands
        return any(line is not None for line in (commands.leader, commands.one_node, commands.decode))

    def serves(self, version: str | None) -> bool:
        return not self.versions or (version is not None and version in SpecifierSet(self.versions, prereleases=True))


def parse(documents: Sequence[tuple[str, Any]]) -> list[Profile]:
    """Profiles of files, each (name of the file, its content: a list). Raises BadProfiles."""
    return [_profile(source, item) for source, content in documents for item in _items(source, content)]


def _items(source: str, content: Any) -> list[Any]:
    if content is None:
        return []
    if not isinstance(content, list):
        raise BadProfiles(f"{source}: give a list of profiles")
    return content


def _profile(source: str, item: Any) -> Profile:
    try:
        return Profile.model_validate(item)
    except ValidationError as error:
        name = item.get("name", "without a name") if isinstance(item, Mapping) else "not a mapping"
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_url=False)
        )
        raise BadProfiles(f"{source}: profile {name}: {faults}") from error
