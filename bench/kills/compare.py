"""Compares, by request id, what clients received, what the engine generated, and what the ledger charges.

The rules, from docs/architecture/leases.md and token_quota/domain/charge.py:

- Every request that reached the engine is charged, once.
- An answer that the client received to its end, and any that the engine counted in it: the engine's numbers, exactly.
- An answer that was cut: the prompt's reservation, and the events that passed the gateway: not fewer than the client
  received, not more than the engine wrote. One in JSON whose client hung up: what the engine makes in that time.
- A request that was in flight in a killed Envoy (no status is known), and a stream that was cut between its head
  and its first event: its reservation, exactly.
- A request that never reached the engine: nothing, or its prompt's reservation if it was on the way when its client
  hung up.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from arks.contracts.usage import UsageSource
from bench.kills.engine import Generated
from bench.kills.outcome import Outcome

FLUSH_MILLISECONDS = 400
"""A line that is older is in the file, even on a busy machine: the filter writes it as the stream ends."""
LONGEST_MILLISECONDS = 10_000
"""From what is known of a request that was cut to its end in Envoy, on a machine so busy that Envoy stands still."""


@dataclass(frozen=True)
class Charge:
    """Of all entries of a request."""

    source: UsageSource
    """Of the newest entry."""
    requests: int
    prompt_tokens: int
    completion_tokens: int
    started_milliseconds: int
    status: int = 0
    """Of the newest entry; 0 if its line was lost, or the client hung up before the answer."""

    @property
    def tokens(self) -> tuple[int, int]:
        return self.prompt_tokens, self.completion_tokens


@dataclass
class Findings:
    classes: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    """Charged, by class."""
    faults: list[str] = field(default_factory=list)

    def add(self, name: str, charge: Charge | None) -> None:
        self.classes[name] += 1
        self.tokens[name] += sum(charge.tokens) if charge is not None else 0


def compare(
    outcomes: Sequence[Outcome],
    generated: Mapping[str, Generated],
    charges: Mapping[str, Charge],
    envoy_kills: Sequence[int],
) -> Findings:
    """`envoy_kills`: times in milliseconds."""
    findings = Findings()
    clients = {outcome.request_id: outcome for outcome in outcomes if outcome.request_id}
    for id_ in {*clients, *generated, *charges}:
        case = Case(clients.get(id_), generated.get(id_), charges.get(id_), envoy_kills)
        name, fault = case.judge()
        findings.add(name, case.charge)
        if fault:
            findings.faults.append(f"{fault}: {id_} {case}")
    findings.classes["no answer"] = sum(not outcome.request_id for outcome in outcomes)
    return findings


@dataclass(frozen=True)
class Case:
    """One request id."""

    client: Outcome | None
    engine: Generated | None
    charge: Charge | None
    envoy_kills: Sequence[int]

    def judge(self) -> tuple[str, str]:
        """Class and fault; no fault: an empty text."""
        if self.charge is not None and self.charge.requests != 1:
            return "charged", f"charged {self.charge.requests} times"
        return self._judge_without_engine() if self.engine is None else self._judge_with_engine(self.engine)

    def _judge_with_engine(self, engine: Generated) -> tuple[str, str]:
        if engine.arrivals > 1:
            return "repeated", "reached the engine more than once"
        if self.charge is None or self.charge.source is UsageSource.NONE:
            return "free", "reached the engine and is not charged"
        if self.charge.source is UsageSource.RESERVATION:
            return self._judge_reservation()
        complete = self.client is not None and self.client.complete
        if self.charge.source is UsageSource.ENGINE:
            return ("complete" if complete else "cut, counted by the engine"), self._differs_from_engine()
        if complete:
            return "complete", "complete, and charged as cut"
        return "cut, charged as delivered", self._differs_from_delivered()

    def _judge_without_engine(self) -> tuple[str, str]:
        charge = self.charge
        if charge is None:
            status = self.client.status if self.client else 0
            return f"rejected ({status})", "answered without the engine" if status == 200 else ""
        if charge.source is UsageSource.RESERVATION:
            fault = "" if self._lost_with_envoy() else "never reached the engine and is charged its reservation"
            return "lost with Envoy before the engine, reservation", fault
        if (charge.completion_tokens and not self._by_time()) or (
            charge.prompt_tokens and self.client is not None and not self.client.hung_up
        ):
            return "not sent", "never reached the engine and is charged"
        return "hung up or failed before the engine", ""

    def _judge_reservation(self) -> tuple[str, str]:
        assert self.charge is not None
        client = self.client
        reserved = (client.prompt_reservation, client.max_tokens) if client is not None else self.charge.tokens
        fault = "" if self.charge.tokens == reserved else f"reserved {reserved}"
        if self.charge.status == 0 and self._lost_with_envoy():
            return "lost with Envoy, reservation", fault
        if self.charge.status == 200 and (client is None or (client.hung_up and client.stream and not client.events)):
            return "cut before the first event, reservation", fault
        return "reservation", "charged its reservation, and no Envoy was killed at its end"

    def _lost_with_envoy(self) -> bool:
        """Whether an Envoy was killed before the request's line was in the file."""
        assert self.charge is not None
        started = self.charge.started_milliseconds
        if self.client is not None and self.client.complete:
            last = self.client.ended_milliseconds + FLUSH_MILLISECONDS
        else:
            last = max(started, self.engine.ended_milliseconds if self.engine else 0) + LONGEST_MILLISECONDS
        return any(started - 1 <= kill <= last for kill in self.envoy_kills)

    def _by_time(self) -> bool:
        """Whether the client hung up before its answer in JSON. Such a client does not know the request's id."""
        assert self.charge is not None
        if self.charge.source is not UsageSource.DELIVERED or self.charge.status != 0:
            return False
        return self.client is None or (self.client.hung_up and not self.client.stream)

    def _differs_from_engine(self) -> str:
        assert self.charge is not None
        assert self.engine is not None
        truth = (self.engine.prompt_tokens, self.engine.completion_tokens)
        if self.charge.tokens != truth:
            return "charge differs from the engine"
        if self.client is not None and self.client.usage not in {None, truth}:
            return "the client received other numbers than the engine counted"
        return ""

    def _differs_from_delivered(self) -> str:
        assert self.charge is not None
        assert self.engine is not None
        seen = self.client.events if self.client is not None else 0
        if not self._by_time() and not seen <= self.charge.completion_tokens <= self.engine.completion_tokens:
            return "charge is not between what the client received and what the engine wrote"
        if self.client is not None and self.charge.prompt_tokens != self.client.prompt_reservation:
            return "charge is not the prompt's reservation"
        return "" if sum(self.charge.tokens) else "free"


def total(charges: Iterable[Charge]) -> tuple[int, int, int]:
    """Requests, prompt tokens and completion tokens."""
    found = list(charges)
    return (
        sum(charge.requests for charge in found),
        sum(charge.prompt_tokens for charge in found),
        sum(charge.completion_tokens for charge in found),
    )
