"""The parts of app-deployer for one machine, from settings."""

import os
from collections.abc import Mapping
from dataclasses import replace

from arks.app_deployer.adapters.local.disaggregated import ApartRuntimes, LocalDisaggregatedWorkloads
from arks.app_deployer.adapters.local.hardware import MachineHardware
from arks.app_deployer.adapters.local.replica import Timings
from arks.app_deployer.adapters.local.work import Work
from arks.app_deployer.adapters.local.workloads import LocalOptions, LocalWorkloads
from arks.app_deployer.adapters.metrics import EngineMetrics, ReplicaGauges
from arks.app_deployer.adapters.parts import Parts
from arks.app_deployer.adapters.probe import HttpProbe
from arks.app_deployer.adapters.profiles import read_profiles
from arks.app_deployer.config import Settings
from arks.kit.backoff import Backoff
from arks.kit.home import Home


def local_parts(settings: Settings, home: Home, environment: Mapping[str, str]) -> Parts:
    """`environment`: what engines get of app-deployer's own environment."""
    probe = HttpProbe(health_seconds=settings.health_seconds, answer_seconds=settings.answer_seconds)
    profiles, metrics = read_profiles(settings.runtime_profiles), EngineMetrics(home.registry)
    options = local_options(settings)
    work = Work(home.clock)
    workloads = LocalWorkloads(
        options,
        probe=probe,
        clock=home.clock,
        metrics=metrics,
        environment=environment,
        profiles=profiles,
        secrets=home.secrets,
        work=work.of,
    )
    apart = LocalWorkloads(
        replace(options, engines_directory=options.engines_directory.with_name("disaggregated")),
        probe=probe,
        clock=home.clock,
        metrics=metrics,
        environment=environment,
        profiles=profiles,
        secrets=home.secrets,
        runtimes=ApartRuntimes(profiles),
    )

    async def follow_work() -> None:
        await work.subscribe(home.bus)

    home.registry.register(ReplicaGauges(workloads.observed))
    return Parts(
        workloads,
        LocalDisaggregatedWorkloads(apart, grace_seconds=settings.grace_seconds),
        probe,
        [],
        [probe.start, follow_work, workloads.start, apart.start],
        [probe.close, workloads.close, apart.close],
        hardware=MachineHardware().of,
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
