"""Can this be run at all? Before anything is started, with numbers and what to do instead."""

from collections.abc import Mapping

from arks.app_deployer.domain.workload import Machine, Refusal
from arks.contracts.resources import ArksApplicationSpec, ArksDisaggregatedApplicationSpec, Runtime

RUNTIME_NOT_SUPPORTED = "RuntimeNotSupport"
"""Spelled as clients of the API know it."""
GANG_NOT_SUPPORTED = "GangSchedulingNotSupported"
NO_POD_GROUPS = "GangSchedulingOff"
NOT_ENOUGH_MEMORY = "NotEnoughMemory"

_INSTEAD = "use runtime llamacpp with a GGUF model here, or apply it to a Kubernetes cluster"
_MIB = 2**20


def runtime_problem(spec: ArksApplicationSpec, machine: Machine, programs: Mapping[Runtime, str]) -> Refusal | None:
    """Why one machine cannot run this spec; None when it can.

    `programs`: of the runtimes that one machine can run if it has a GPU and this program; empty: without either.
    """
    runtime = spec.effective_runtime
    if runtime not in programs:
        return _unsupported(f"runtime {runtime} needs Kubernetes; {_INSTEAD}")
    problem = _gpu_problem(runtime, machine, programs[runtime]) if programs[runtime] else None
    if spec.group_size > 1:
        nodes = f"a replica of {spec.group_size} nodes needs Kubernetes; this is one machine: leave size out"
        return _unsupported(nodes if problem is None else f"{problem.message}; besides, {nodes}")
    return problem


def disaggregated_problem(spec: ArksDisaggregatedApplicationSpec) -> Refusal | None:
    """Why one machine cannot run prefill and decode apart; None when it can."""
    if spec.runtime != "ark":
        return _unsupported(
            f"prefill and decode apart with runtime {spec.runtime or 'sglang'} need Kubernetes with GPU nodes; "
            "use runtime ark here, or an ArksApplication with runtime llamacpp, or apply it to a Kubernetes cluster"
        )
    if spec.router.replicas > 1:
        return _unsupported("one machine runs one router: set router.replicas to 1, or apply it to Kubernetes")
    for name, stage in (("prefill", spec.prefill), ("decode", spec.decode)):
        if stage.size > 1:
            return _unsupported(f"{name}: a replica of {stage.size} nodes needs Kubernetes; this is one machine")
        if stage.leader_command_override:
            return _unsupported(f"{name}.leaderCommandOverride needs Kubernetes: here the engine is always ark-engine")
    return None


def _gpu_problem(runtime: Runtime, machine: Machine, program: str) -> Refusal | None:
    missing = [] if machine.has_gpu else ["it has no GPU"]
    missing += [] if program in machine.programs else [f"the program {program} is not installed"]
    if not missing:
        return None
    return _unsupported(f"this machine cannot run runtime {runtime}: {' and '.join(missing)}; {_INSTEAD}")


def _unsupported(message: str) -> Refusal:
    return Refusal(RUNTIME_NOT_SUPPORTED, message)


def replicas_that_fit(available_bytes: int, reserved_bytes: int, replica_bytes: int) -> int:
    """How many more replicas memory holds. `claimed_bytes`: of replicas that are started but have not loaded yet."""
    return max(0, available_bytes - reserved_bytes) // max(1, replica_bytes)


def number_refusal(replicas: int, most: int, replica_bytes: int) -> Refusal | None:
    """Why that many replicas never run here at once; None if they may. `most`: as many as memory holds if no other
    program takes any, which is known long before that many have started.
    """
    if replicas <= most or most < 1:
        return None
    return Refusal(
        NOT_ENOUGH_MEMORY,
        f"this machine's memory holds at most {most} replicas of {replica_bytes // _MIB} MiB, not {replicas}; "
        "use fewer replicas, a smaller model or a smaller --ctx-size",
    )


def memory_refusal(available_bytes: int, reserved_bytes: int, replica_bytes: int, weights_bytes: int) -> Refusal:
    free = max(0, available_bytes - reserved_bytes)
    return Refusal(
        NOT_ENOUGH_MEMORY,
        f"a replica takes {replica_bytes // _MIB} MiB of memory ({weights_bytes // _MIB} MiB of them weights), "
        f"{free // _MIB} MiB are available; use a smaller model, a smaller --ctx-size or fewer replicas",
    )
