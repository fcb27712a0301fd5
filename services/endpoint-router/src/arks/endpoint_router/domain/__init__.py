"""Decide which replica gets how much of an endpoint's traffic, and why. Pure: no clock, no I/O.

replicas.py    replicas and the applications that they belong to
shares.py      the share of each application: static entries, defaultWeight, canaries
roster.py      who can get traffic at all, which follows from spec and facts
load.py        readings of load, which of them are plausible, what follows from them
speed.py       how fast a slot works, and when that has changed
usual.py       how much readings of a speed usually differ
slots.py       slots of engines that do not report them
groups.py      replicas that are alike: Envoy's localities
division.py    shares of groups by capacity, so that requests wait least
scores.py      the replicas of one application compared: groups, shares, queues
limits.py      requests in flight, retries, and when a rejected client may return
decide.py      a decision from all of these
decision.py    its type, with a reason for each replica
translate.py   facts, load reports and resources as values of this package
http_route.py  the HTTPRoute of an endpoint with a `gatewayRef`
"""

from arks.endpoint_router.domain.decide import DecisionInput, decide, weigh
from arks.endpoint_router.domain.decision import Candidate, Decision, Portion, Reason, RoutedGroup, Source
from arks.endpoint_router.domain.limits import Limits
from arks.endpoint_router.domain.load import Reading, Signals, Unit, doubt, observe
from arks.endpoint_router.domain.replicas import Application, Pages, ReplicaId, RoutedReplica, usable_address
from arks.endpoint_router.domain.roster import WEIGHT_TOTAL, Roster, roster
from arks.endpoint_router.domain.scores import Score
from arks.endpoint_router.domain.shares import EndpointSpec, Share, StaticRoute, applications_named

__all__ = [
    "WEIGHT_TOTAL",
    "Application",
    "Candidate",
    "Decision",
    "DecisionInput",
    "EndpointSpec",
    "Limits",
    "Pages",
    "Portion",
    "Reading",
    "Reason",
    "ReplicaId",
    "Roster",
    "RoutedGroup",
    "RoutedReplica",
    "Score",
    "Share",
    "Signals",
    "Source",
    "StaticRoute",
    "Unit",
    "applications_named",
    "decide",
    "doubt",
    "observe",
    "roster",
    "usable_address",
    "weigh",
]
