"""What is to be done about a model next, and what its status says. Pure: data in, decision out."""

from arks.model_manager.domain.decision import Decision, Step, Verdict, decide
from arks.model_manager.domain.orders import Order, SourceKind, loadable, order_of
from arks.model_manager.domain.progress import Sample, human_bytes, progress_of, sampled
from arks.model_manager.domain.seen import Blocked, Content, Failure, Loading, LoadState, Seen, Stored
from arks.model_manager.domain.sharing import Claim, ClaimBook, Removal, conflict_of, overlap, users_of
from arks.model_manager.domain.status import happened, shown_progress, status_of

__all__ = [
    "Blocked",
    "Claim",
    "ClaimBook",
    "Content",
    "Decision",
    "Failure",
    "LoadState",
    "Loading",
    "Order",
    "Removal",
    "Sample",
    "Seen",
    "SourceKind",
    "Step",
    "Stored",
    "Verdict",
    "conflict_of",
    "decide",
    "happened",
    "human_bytes",
    "loadable",
    "order_of",
    "overlap",
    "progress_of",
    "sampled",
    "shown_progress",
    "status_of",
    "users_of",
]
