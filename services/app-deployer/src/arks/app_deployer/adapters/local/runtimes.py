"""Requirements of engines before their start (model file, memory, slots), and their command lines."""

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from arks.app_deployer.adapters.local import gguf
from arks.app_deployer.domain.launch import llamacpp_options
from arks.app_deployer.domain.launch.arguments import as_arguments
from arks.app_deployer.domain.launch.local_commands import LLAMACPP, EngineParameters, engine_command
from arks.app_deployer.domain.launch.profile_set import Profiles
from arks.app_deployer.domain.launch.slots import slots_in
from arks.app_deployer.domain.model_file import ModelFile
from arks.app_deployer.domain.workload import Refusal
from arks.contracts.resources import ArksApplicationSpec, Runtime

ON_PROCESSORS = frozenset({Runtime.LLAMACPP, Runtime.ARK})
"""Runtimes whose engines share the machine's processors and memory."""


class Refused(Exception):
    """The replica cannot work and is not started."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class EngineRequirements:
    model_path: str
    memory_bytes: int
    """0 if the runtime manages its own memory (that of the GPU)."""
    weights_bytes: int
    slots: int
    """0 when unknown."""


class LocalRuntimes:
    """The engines that one machine can run."""

    def __init__(self, profiles: Profiles) -> None:
        self._profiles = profiles

    async def requirements(self, spec: ArksApplicationSpec, model_path: str, slots: int) -> EngineRequirements:
        """`slots`: of a replica on processors whose arguments do not set them. Raises Refused."""
        if spec.effective_runtime is Runtime.ARK:
            return await ark_requirements(as_arguments(spec.runtime_args), model_path, slots)
        if spec.effective_runtime is not Runtime.LLAMACPP:
            return EngineRequirements(model_path, 0, 0, slots_in(as_arguments(spec.runtime_args)))
        return await asyncio.to_thread(_of_llamacpp, spec, model_path, slots, self._profiles)

    def command(self, spec: ArksApplicationSpec, engine: EngineParameters) -> list[str]:
        return engine_command(spec, engine, self._profiles)


async def ark_requirements(arguments: Sequence[str], model_path: str, slots: int) -> EngineRequirements:
    """Of one engine. `slots`: if the arguments do not set them. Raises Refused."""
    return await asyncio.to_thread(_of_ark, arguments, model_path, slots)


def _read(path: Path) -> ModelFile:
    """Reading a header takes 0.1 s and is needed at every reconcile, so it is cached until the file changes."""
    stat = path.stat()
    return _read_once(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _read_once(path: Path, _modified_ns: int, _size_bytes: int) -> ModelFile:
    return gguf.read(path)


def _of_ark(arguments: Sequence[str], model_path: str, slots: int) -> EngineRequirements:
    """ark-engine is llama.cpp, and has its options where they count here; it refuses others itself."""
    model = _whole_model(model_path)
    line = ["--model", str(model.path), "--port", "0", "--parallel", str(slots), *arguments]
    try:
        options, _ = llamacpp_options.parser(add_help=False).parse_known_args(line)
    except llamacpp_options.BadOptions as error:
        raise Refused(Refusal("ArgumentsBad", f"runtimeCommonArgs: {error}")) from error
    return _requirements(options, model)


def _of_llamacpp(spec: ArksApplicationSpec, model_path: str, slots: int, profiles: Profiles) -> EngineRequirements:
    model = _whole_model(model_path)
    line = engine_command(spec, EngineParameters(str(model.path), port=0, threads=1, slots=slots), profiles)
    try:
        options = llamacpp_options.parser(add_help=False).parse_args(line[len(LLAMACPP) :])
    except llamacpp_options.BadOptions as error:
        raise Refused(Refusal("ArgumentsBad", f"runtimeCommonArgs: {error}")) from error
    return _requirements(options, model)


def _whole_model(model_path: str) -> ModelFile:
    try:
        return _read(gguf.find(Path(model_path)))
    except gguf.BadModelFile as error:
        raise Refused(Refusal("ModelFileBad", str(error))) from error


def _requirements(options: argparse.Namespace, model: ModelFile) -> EngineRequirements:
    return EngineRequirements(
        str(model.path), llamacpp_options.memory_bytes(options, model), model.size_bytes, options.parallel
    )
