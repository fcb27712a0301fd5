"""Whether a Dataset of Fluid can be used."""

from dataclasses import replace

import pytest

from arks.model_manager.domain.fluid import FluidObject, FluidVerdict, judge

DATASET = FluidObject("Dataset a/qwen", True, True, "Bound")
RUNTIME = FluidObject("JuiceFSRuntime a/qwen", True, True)
LOAD = FluidObject("DataLoad a/qwen", True, True, "Complete")


@pytest.mark.parametrize(
    ("dataset", "runtime", "load", "expected"),
    [
        (DATASET, RUNTIME, None, FluidVerdict(True)),
        (DATASET, RUNTIME, LOAD, FluidVerdict(True)),
        (FluidObject("Dataset a/qwen"), RUNTIME, None, FluidVerdict(False, False, "Dataset a/qwen is being created")),
        (
            DATASET,
            replace(RUNTIME, current=False),
            None,
            FluidVerdict(False, False, "JuiceFSRuntime a/qwen is being changed"),
        ),
        (
            replace(DATASET, phase=""),
            RUNTIME,
            None,
            FluidVerdict(False, False, "Dataset a/qwen has no phase yet: Fluid's controllers have not seen it"),
        ),
        (
            replace(DATASET, phase="NotBound", message="no runtime"),
            RUNTIME,
            None,
            FluidVerdict(False, False, "Dataset a/qwen is NotBound: no runtime"),
        ),
        (
            replace(DATASET, phase="Failed", message="no secret"),
            RUNTIME,
            LOAD,
            FluidVerdict(False, True, "Dataset a/qwen is Failed: no secret"),
        ),
        (
            DATASET,
            RUNTIME,
            replace(LOAD, phase="Executing"),
            FluidVerdict(False, False, "DataLoad a/qwen is Executing"),
        ),
        (
            DATASET,
            RUNTIME,
            replace(LOAD, phase="Failed", message="no such path"),
            FluidVerdict(False, True, "DataLoad a/qwen is Failed: no such path"),
        ),
        (
            DATASET,
            RUNTIME,
            FluidObject("DataLoad a/qwen"),
            FluidVerdict(False, False, "DataLoad a/qwen is being created"),
        ),
    ],
)
def test_the_phases_decide(
    dataset: FluidObject, runtime: FluidObject, load: FluidObject | None, expected: FluidVerdict
) -> None:
    assert judge(dataset, runtime, load) == expected
