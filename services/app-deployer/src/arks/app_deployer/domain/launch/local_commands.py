"""Launch commands on one machine: an engine as a process that listens on loopback."""

import sys
from dataclasses import dataclass

from arks.app_deployer.domain.launch.commands import values_of
from arks.app_deployer.domain.launch.profile_set import Profiles
from arks.contracts.resources import ArksApplicationSpec

LLAMACPP = (sys.executable, "-m", "arks.app_deployer.programs.llamacpp")
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class EngineParameters:
    """What differs from one start of an engine to the next."""

    model_path: str
    port: int
    threads: int
    slots: int


def engine_command(
    spec: ArksApplicationSpec, engine: EngineParameters, profiles: Profiles, *, disaggregated: bool = False
) -> list[str]:
    """The program and its arguments. Raises ValueError if the runtime has no command for one machine, and NoLaunch."""
    profile = profiles.machine(spec.effective_runtime, disaggregated=disaggregated)
    if profile is None or profile.commands.machine is None:
        raise ValueError(f"runtime {spec.effective_runtime} has no launch line on one machine")
    values = values_of(spec, engine.model_path, profile, None) | {
        "port": str(engine.port),
        "host": _HOST,
        "python": sys.executable,
        "slots": str(engine.slots),
        "threads": str(engine.threads),
    }
    return list(profile.command(profile.commands.machine, values))
