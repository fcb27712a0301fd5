"""Whatever happens in whatever order, each Envoy ends with what the snapshot has.

The Envoys are models of its two kinds of discovery client: what they apply of a response that they reject, which
versions they name as they connect again, and when a cluster waits for its endpoints.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)
from google.protobuf.message import Message
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from arks.endpoint_router.adapters.envoy.messages import Cluster, ClusterLoadAssignment, Listener
from arks.endpoint_router.adapters.xds import CLUSTER, ENDPOINT, LISTENER, ConfigSnapshot
from arks.endpoint_router.adapters.xds.session import Session
from arks.endpoint_router.adapters.xds.wire import FullState, Incremental

BAD = "bad"
"""What some Envoys reject."""
EXCHANGES_LIMIT = 200
KINDS: dict[str, type[Message]] = {CLUSTER: Cluster, ENDPOINT: ClusterLoadAssignment, LISTENER: Listener}
CONTENTS = st.sampled_from(["x", "y", BAD])
TYPES = st.sampled_from(list(KINDS))
NAMES = st.sampled_from(["a", "b"])
NUMBERS = st.integers(0, 1)


def message(type_: str, name: str, content: str) -> Message:
    built: Any = KINDS[type_]()
    if type_ == CLUSTER:
        built.name, built.alt_stat_name = name, content
    elif type_ == LISTENER:
        built.name, built.stat_prefix = name, content
    else:
        built.cluster_name = name
        built.endpoints.add().locality.region = content
    return built  # type: ignore[no-any-return]


def name_of(type_: str, value: bytes) -> str:
    found: Any = KINDS[type_].FromString(value)
    return str(found.cluster_name if type_ == ENDPOINT else found.name)


@dataclass
class Envoy:
    """What both kinds have in common."""

    picky: bool
    """Whether it rejects what is bad."""
    applied: dict[str, dict[str, bytes]] = field(default_factory=lambda: {CLUSTER: {}, ENDPOINT: {}, LISTENER: {}})
    warming: set[str] = field(default_factory=set)
    """Clusters that wait for their endpoints; until they come, requests go by the cluster before the change."""
    session: Any = None
    end: Any = None
    requests: deque[Any] = field(default_factory=deque)
    responses: deque[Any] = field(default_factory=deque)
    in_flight: set[str] = field(default_factory=set)

    def attach(self, snapshot: ConfigSnapshot, session: Any) -> None:
        """Connect, again too: messages on their way are lost."""
        self.detach(snapshot)
        self.session, self.end = session, snapshot.subscribe(session.changed)

    def detach(self, snapshot: ConfigSnapshot) -> None:
        if self.end is not None:
            self.end()
            snapshot.forget(self.session)
        self.session = self.end = None
        self.requests.clear()
        self.responses.clear()
        self.in_flight.clear()

    def exchange(self) -> bool:
        """Pass one message on, a request before a response. Returns whether there was one."""
        if self.session is None:
            return False
        if self.requests:
            request = self.requests.popleft()
            if self.session.receive(request) is not None:
                self.in_flight.discard(request.type_url)
            return True
        for response in self.session.responses(now=0.0):
            assert response.type_url not in self.in_flight, "two responses of a type at once"
            self.in_flight.add(response.type_url)
            self.responses.append(response)
        if self.responses:
            self.handle(self.responses.popleft())
            return True
        return False

    def handle(self, response: Any) -> None:
        raise NotImplementedError

    def apply(self, type_: str, found: Mapping[str, bytes], removed: Iterable[str]) -> str:
        """Apply a response. Returns why it is rejected; empty if it is not."""
        bad = [name for name, value in found.items() if self.picky and BAD.encode() in value]
        if type_ == ENDPOINT:
            self._apply_endpoints(found, bad)
        else:
            for name in removed:
                self._remove(type_, name)
            for name in found.keys() - set(bad):
                self._put(type_, name, found[name])
        return f"Error adding/updating {', '.join(bad)}: no" if bad else ""

    def _apply_endpoints(self, found: Mapping[str, bytes], bad: list[str]) -> None:
        for name, value in found.items():
            if name in bad:
                return  # as in Envoy, the first that is rejected ends it
            if name in self.applied[CLUSTER]:
                self.applied[ENDPOINT][name] = value
                self.warming.discard(name)

    def _put(self, type_: str, name: str, value: bytes) -> None:
        if type_ == CLUSTER and self.applied[CLUSTER].get(name) != value:
            self.warming.add(name)
        self.applied[type_][name] = value

    def _remove(self, type_: str, name: str) -> None:
        self.applied[type_].pop(name, None)
        if type_ == CLUSTER:
            self.applied[ENDPOINT].pop(name, None)
            self.warming.discard(name)


@dataclass
class OldEnvoy(Envoy):
    def connect(self, snapshot: ConfigSnapshot) -> None:
        self.attach(snapshot, Session(snapshot, FullState()))
        for type_ in (CLUSTER, ENDPOINT, LISTENER):
            if type_ != ENDPOINT or self.applied[CLUSTER]:
                self.requests.append(self._request(type_))

    def _request(self, type_: str) -> DiscoveryRequest:
        names = sorted(self.applied[CLUSTER]) if type_ == ENDPOINT else []
        return DiscoveryRequest(type_url=type_, resource_names=names)

    def handle(self, response: DiscoveryResponse) -> None:
        type_, clusters = response.type_url, set(self.applied[CLUSTER])
        found = {name_of(type_, resource.value): resource.value for resource in response.resources}
        error = self.apply(type_, found, set(self.applied[type_]) - found.keys())
        answer = self._request(type_)
        answer.response_nonce = response.nonce
        if error:
            answer.error_detail.message = error
        self.requests.append(answer)
        if clusters != set(self.applied[CLUSTER]):
            self.requests.append(self._request(ENDPOINT))


@dataclass
class NewEnvoy(Envoy):
    versions: dict[str, dict[str, str]] = field(default_factory=lambda: {CLUSTER: {}, ENDPOINT: {}, LISTENER: {}})
    """Those of responses that it accepted, by name; a response that it rejects changes none of them."""

    def connect(self, snapshot: ConfigSnapshot) -> None:
        self.attach(snapshot, Session(snapshot, Incremental()))
        for type_ in (CLUSTER, ENDPOINT, LISTENER):
            names = sorted(self.applied[CLUSTER]) if type_ == ENDPOINT else []
            if type_ != ENDPOINT or names:
                request = DeltaDiscoveryRequest(type_url=type_, resource_names_subscribe=names)
                request.initial_resource_versions.update(self.versions[type_])
                self.requests.append(request)

    def handle(self, response: DeltaDiscoveryResponse) -> None:
        type_, clusters = response.type_url, set(self.applied[CLUSTER])
        found = {resource.name: resource.resource.value for resource in response.resources}
        assert len(found) == len(response.resources), "one resource twice"
        assert not found.keys() & set(response.removed_resources), "a resource that is removed too"
        error = self.apply(type_, found, response.removed_resources)
        answer = DeltaDiscoveryRequest(type_url=type_, response_nonce=response.nonce)
        if error:
            answer.error_detail.message = error
        else:
            self._store_versions(response)
        self.requests.append(answer)
        self._subscribe(clusters)

    def _store_versions(self, response: DeltaDiscoveryResponse) -> None:
        versions = self.versions[response.type_url]
        for resource in response.resources:
            if response.type_url != ENDPOINT or resource.name in self.applied[CLUSTER]:
                versions[resource.name] = resource.version
        for name in response.removed_resources:
            versions.pop(name, None)
            if response.type_url == ENDPOINT and name in self.warming:  # Envoy takes the cluster without replicas
                self.applied[ENDPOINT].pop(name, None)
                self.warming.discard(name)

    def _subscribe(self, before: set[str]) -> None:
        clusters = set(self.applied[CLUSTER])
        for name in before - clusters:
            self.versions[ENDPOINT].pop(name, None)
        if clusters != before:
            self.requests.append(
                DeltaDiscoveryRequest(
                    type_url=ENDPOINT,
                    resource_names_subscribe=sorted(clusters - before),
                    resource_names_unsubscribe=sorted(before - clusters),
                )
            )


class Discovery(RuleBasedStateMachine):
    """One router and two Envoys, of which the second rejects what is bad."""

    kind: type[OldEnvoy | NewEnvoy]

    def __init__(self) -> None:
        super().__init__()
        self.snapshot = ConfigSnapshot()
        self.envoys = [self.kind(picky=False), self.kind(picky=True)]
        for envoy in self.envoys:
            envoy.connect(self.snapshot)

    @rule(type_=TYPES, name=NAMES, content=CONTENTS)
    def put(self, type_: str, name: str, content: str) -> None:
        self.snapshot.put(type_, name, message(type_, name, content))

    @rule(name=NAMES, content=CONTENTS)
    def put_endpoint(self, name: str, content: str) -> None:
        for type_ in (ENDPOINT, CLUSTER):
            self.snapshot.put(type_, name, message(type_, name, content))

    @rule(type_=TYPES, name=NAMES)
    def remove(self, type_: str, name: str) -> None:
        self.snapshot.remove(type_, name)
        if type_ == CLUSTER:
            self.snapshot.remove(ENDPOINT, name)

    @rule(number=NUMBERS)
    def connect(self, number: int) -> None:
        self.envoys[number].connect(self.snapshot)

    @rule(number=NUMBERS)
    def disconnect(self, number: int) -> None:
        self.envoys[number].detach(self.snapshot)

    @rule(number=NUMBERS, messages=st.integers(1, 5))
    def exchange(self, number: int, messages: int) -> None:
        for _ in range(messages):
            self.envoys[number].exchange()

    @rule()
    def settle_all(self) -> None:
        for envoy in self.envoys:
            if envoy.session is not None:
                self.settle(envoy)

    @rule()
    def restart_router(self) -> None:
        old, self.snapshot = self.snapshot, ConfigSnapshot()
        for envoy in self.envoys:
            envoy.detach(old)
        for type_ in (LISTENER, ENDPOINT, CLUSTER):  # revisions differ from those of the router before
            for name, resource in old.resources(type_).items():
                self.snapshot.put(type_, name, KINDS[type_].FromString(resource.value))

    def teardown(self) -> None:
        for envoy in self.envoys:
            if envoy.session is None:
                envoy.connect(self.snapshot)
        self.settle_all()
        for envoy in self.envoys:
            self.check(envoy)
        self.envoys[1].picky = False  # as once the port that was in use is free
        for type_ in KINDS:
            for name in list(self.snapshot.resources(type_)):
                self.snapshot.retry(type_, name)
        self.settle_all()
        for envoy in self.envoys:
            self.check(envoy)

    def settle(self, envoy: OldEnvoy | NewEnvoy) -> None:
        for _ in range(EXCHANGES_LIMIT):
            if not envoy.exchange():
                assert envoy.session.idle
                return
        raise AssertionError("responses and requests never end")

    def check(self, envoy: OldEnvoy | NewEnvoy) -> None:
        for type_ in KINDS:
            wanted = {name: resource.value for name, resource in self.snapshot.resources(type_).items()}
            if type_ == ENDPOINT:
                wanted = {name: value for name, value in wanted.items() if name in envoy.applied[CLUSTER]}
            rejected = {name for name, value in wanted.items() if envoy.picky and BAD.encode() in value}
            applied = envoy.applied[type_]
            sure = {name: value for name, value in wanted.items() if name not in rejected}
            assert sure == {name: value for name, value in applied.items() if name in sure}
            assert not [name for name in rejected if applied.get(name) == wanted[name]]
            if type_ != ENDPOINT:  # endpoints of a cluster that is held stay as they are
                assert set(applied) <= set(wanted)
            else:
                assert not envoy.warming & sure.keys(), "a cluster waits for its endpoints"


class OldEnvoys(Discovery):
    kind = OldEnvoy


class NewEnvoys(Discovery):
    kind = NewEnvoy

    @rule(number=NUMBERS, name=NAMES)
    def forget(self, number: int, name: str) -> None:
        """An Envoy may subscribe to what it is subscribed to, because it forgot it."""
        envoy = self.envoys[number]
        if envoy.session is not None and name in envoy.applied[CLUSTER]:
            envoy.applied[ENDPOINT].pop(name, None)
            if isinstance(envoy, NewEnvoy):
                envoy.versions[ENDPOINT].pop(name, None)
            envoy.requests.append(DeltaDiscoveryRequest(type_url=ENDPOINT, resource_names_subscribe=[name]))


TestOldEnvoys, TestNewEnvoys = OldEnvoys.TestCase, NewEnvoys.TestCase
TestOldEnvoys.settings = settings(max_examples=50, stateful_step_count=25)
TestNewEnvoys.settings = settings(max_examples=150, stateful_step_count=25)
