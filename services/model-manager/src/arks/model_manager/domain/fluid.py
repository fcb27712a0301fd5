"""Whether a Dataset of Fluid can be used, from the phases of its objects. Pure."""

from dataclasses import dataclass

BOUND = "Bound"
COMPLETE = "Complete"
FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class FluidObject:
    """One object of Fluid, as its status has it."""

    kind: str
    exists: bool = False
    current: bool = False
    """Whether it is as the model's spec has it."""
    phase: str = ""
    """Empty before Fluid has seen it."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class FluidVerdict:
    usable: bool
    failing: bool = False
    message: str = ""


def judge(dataset: FluidObject, runtime: FluidObject, load: FluidObject | None) -> FluidVerdict:
    """`load`: None if the model is not to be read into the cache before it is used."""
    for each in (dataset, runtime):
        if not each.exists or not each.current:
            return FluidVerdict(False, message=f"{each.kind} is being {'changed' if each.exists else 'created'}")
    if dataset.phase != BOUND:
        return FluidVerdict(False, dataset.phase == FAILED, _waits(dataset))
    if load is None or load.phase == COMPLETE:
        return FluidVerdict(True)
    if not load.exists:
        return FluidVerdict(False, message=f"{load.kind} is being created")
    return FluidVerdict(False, load.phase == FAILED, _waits(load))


def _waits(found: FluidObject) -> str:
    cause = f": {found.message}" if found.message else ""
    if not found.phase:
        return f"{found.kind} has no phase yet: Fluid's controllers have not seen it"
    return f"{found.kind} is {found.phase}{cause}"
