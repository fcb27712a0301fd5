"""Decide which replica gets how much of an endpoint's traffic, and why. Pure: no clock, no I/O.

replicas.py    replicas and the applications that they belong to
shares.py      the share of each application: static entries, defaultWeight, canaries
roster.py      who can get traffic at all, which follows from spec and facts
native.pyi     what every load report passes, in Rust: readings, speeds, groups, shares, limits, load assignments
decide.py      a decision from all of these
decision.py    its type, with a reason for each replica
translate.py   facts, load reports and resources as values of this package
http_route.py  the HTTPRoute of an endpoint with a `gatewayRef`
"""

from arks.endpoint_router.domain.decide import DecisionInput, decide, weigh
from arks.endpoint_router.domain.decision import Candidate, Decision, RoutedGroup, Source, Unit
from arks.endpoint_router.domain.native import Comparisons, Limits, Loads, Report, Sites
from arks.endpoint_router.domain.replicas import Application, Pages, ReplicaId, RoutedReplica, usable_address
from arks.endpoint_router.domain.roster import WEIGHT_TOTAL, Portion, Reason, Roster, roster
from arks.endpoint_router.domain.shares import EndpointSpec, Share, StaticRoute, applications_named

__all__ = [
    "WEIGHT_TOTAL",
    "Application",
    "Candidate",
    "Comparisons",
    "Decision",
    "DecisionInput",
    "EndpointSpec",
    "Limits",
    "Loads",
    "Pages",
    "Portion",
    "Reason",
    "ReplicaId",
    "Report",
    "Roster",
    "RoutedGroup",
    "RoutedReplica",
    "Share",
    "Sites",
    "Source",
    "StaticRoute",
    "Unit",
    "applications_named",
    "decide",
    "roster",
    "usable_address",
    "weigh",
]
