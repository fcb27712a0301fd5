"""Take a decision: first who can get traffic at all (`roster`), then load."""

from collections.abc import Mapping

from msgspec import Struct, field

from arks.endpoint_router.domain.decision import Decision, Source
from arks.endpoint_router.domain.native import Comparison, Loads, compare, limits_of
from arks.endpoint_router.domain.replicas import Application
from arks.endpoint_router.domain.roster import Roster, roster
from arks.endpoint_router.domain.shares import EndpointSpec

_NOTHING = Loads()


class DecisionInput(Struct, frozen=True):
    """Everything that a decision depends on, besides the endpoint's spec."""

    applications: Mapping[str, Application]
    """Those of the endpoint's namespace, by name."""
    loads: Mapping[str, Loads] = field(default_factory=dict)
    """By application."""
    before: Mapping[str, Comparison] = field(default_factory=dict)
    """Comparisons of the last decision, by application."""
    hold: bool = False
    """The router has just started: an application of which no load was reported keeps its last groups and shares."""
    now: float = 0.0
    """Seconds since the epoch."""


def decide(spec: EndpointSpec, inputs: DecisionInput) -> Decision:
    """Return the decision. Equal inputs give equal decisions, in every router and in whatever order they arrived."""
    return weigh(roster(spec, inputs.applications), inputs)


def weigh(known: Roster, inputs: DecisionInput) -> Decision:
    """Return the decision that `decide` returns. `known`: the roster of the spec and of `inputs.applications`."""
    loads, before, hold, now = inputs.loads, inputs.before, inputs.hold, inputs.now
    comparisons = tuple(
        [
            compare(
                name, pool.members, loads.get(name, _NOTHING), before.get(name), weight=pool.weight, now=now, hold=hold
            )
            for name, pool in zip(known.names, known.pools, strict=True)
        ]
    )
    return Decision(known, comparisons, _source(known, comparisons), limits_of(comparisons), now)


def _source(known: Roster, comparisons: tuple[Comparison, ...]) -> Source:
    if any(comparison.measured for comparison in comparisons):
        return Source.ENGINE
    return Source.STATIC if known.shares_differ or known.slots_differ else Source.EQUAL
