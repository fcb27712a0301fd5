"""Take a decision: first who can get traffic at all (`roster`), then load."""

from collections.abc import Mapping

from msgspec import Struct, field

from arks.endpoint_router.domain.decision import Decision, Source
from arks.endpoint_router.domain.native import Comparisons, Loads
from arks.endpoint_router.domain.replicas import Application
from arks.endpoint_router.domain.roster import Roster, roster
from arks.endpoint_router.domain.shares import EndpointSpec


class DecisionInput(Struct, frozen=True):
    """Everything that a decision depends on, besides the endpoint's spec."""

    applications: Mapping[str, Application]
    """Those of the endpoint's namespace, by name."""
    loads: dict[str, Loads] = field(default_factory=dict)
    """By application."""
    before: Comparisons | None = None
    """Those of the last decision."""
    hold: bool = False
    """The router has just started: an application of which no load was reported keeps its last groups and shares."""
    now: float = 0.0
    """Seconds since the epoch."""


def decide(spec: EndpointSpec, inputs: DecisionInput) -> Decision:
    """Return the decision. Equal inputs give equal decisions, in every router and in whatever order they arrived."""
    return weigh(roster(spec, inputs.applications), inputs)


def weigh(known: Roster, inputs: DecisionInput) -> Decision:
    """Return the decision that `decide` returns. `known`: the roster of the spec and of `inputs.applications`."""
    comparisons = known.compared.compare(inputs.loads, inputs.before, now=inputs.now, hold=inputs.hold)
    return Decision(known, comparisons, _source(known, comparisons), inputs.now)


def _source(known: Roster, comparisons: Comparisons) -> Source:
    if comparisons.measured:
        return Source.ENGINE
    return Source.STATIC if known.shares_differ or known.slots_differ else Source.EQUAL
