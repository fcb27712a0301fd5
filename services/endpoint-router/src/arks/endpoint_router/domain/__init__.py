"""Which replica gets how much of an endpoint's traffic, and why. Pure: no clock, no I/O.

replicas.py   replicas, their states, what is known of an application
shares.py     what each application gets of an endpoint: static entries, defaultWeight, canaries
load.py       readings of load, which of them can be believed, how fast a replica is
scores.py     how the replicas of one application compare: capacity and queues, small steps
decide.py     all of it together
decision.py   the outcome, with a reason for each replica
"""

from arks.endpoint_router.domain.decide import WHOLE, Facts, decide
from arks.endpoint_router.domain.decision import Candidate, Decision, Portion, Reason, Source
from arks.endpoint_router.domain.load import STALE_SECONDS, Reading, Signals, Unit, doubt, observe, stale_seconds
from arks.endpoint_router.domain.replicas import Application, Replica, ReplicaId, State, usable_address
from arks.endpoint_router.domain.scores import Score
from arks.endpoint_router.domain.shares import SERVICE_PREFIX, EndpointSpec, Share, StaticRoute, applications_named

__all__ = [
    "SERVICE_PREFIX",
    "STALE_SECONDS",
    "WHOLE",
    "Application",
    "Candidate",
    "Decision",
    "EndpointSpec",
    "Facts",
    "Portion",
    "Reading",
    "Reason",
    "Replica",
    "ReplicaId",
    "Score",
    "Share",
    "Signals",
    "Source",
    "State",
    "StaticRoute",
    "Unit",
    "applications_named",
    "decide",
    "doubt",
    "observe",
    "stale_seconds",
    "usable_address",
]
