"""The parts of app-deployer for one machine, from settings."""

import os
from collections.abc import Mapping

from arks.app_deployer.adapters.local.disaggregated import NoDisaggregatedWorkloads
from arks.app_deployer.adapters.local.probe import HttpProbe
from arks.app_deployer.adapters.local.replica import Timings
from arks.app_deployer.adapters.local.workloads import LocalOptions, LocalWorkloads
from arks.app_deployer.adapters.metrics import EngineMetrics, ReplicaGauges
from arks.app_deployer.adapters.parts import Parts
from arks.app_deployer.adapters.profiles import read_profiles
from arks.app_deployer.config import Settings
from arks.kit.backoff import Backoff
from arks.kit.home import Home


def local_parts(settings: Settings, home: Home, environment: Mapping[str, str]) -> Parts:
    """`environment`: what engines get of app-deployer's own environment."""
    probe = HttpProbe(health_seconds=settings.health_seconds, answer_seconds=settings.answer_seconds)
    workloads = LocalWorkloads(
        local_options(settings),
        probe=probe,
        clock=home.clock,
        metrics=EngineMetrics(home.registry),
        environment=environment,
        profiles=read_profiles(settings.runtime_profiles),
    )
    home.registry.register(ReplicaGauges(workloads.observed))
    return Parts(
        workloads, NoDisaggregatedWorkloads(), [], [probe.start, workloads.start], [probe.close, workloads.close]
    )


def local_options(settings: Settings) -> LocalOptions:
    return LocalOptions(
        engines_directory=settings.state_dir.resolve() / "engines",
        timings=_timings(settings),
        slots=settings.engine_slots,
        grace_seconds=settings.grace_seconds,
        log_bytes=settings.engine_log_bytes,
        owner_pid=settings.supervisor_pid or os.getpid(),
    )


def _timings(settings: Settings) -> Timings:
    return Timings(
        probe_seconds=settings.probe_seconds,
        liveness_seconds=settings.liveness_seconds,
        hung_seconds=settings.hung_seconds,
        start_seconds=settings.start_seconds,
        settle_seconds=settings.drain_settle_seconds,
        kill_seconds=settings.kill_seconds,
        stable_seconds=settings.stable_seconds,
        backoff=Backoff(settings.backoff_first_seconds, settings.backoff_longest_seconds),
    )
