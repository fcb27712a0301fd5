"""The runtime of applications whose manifest names none."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from arks.contracts.resources import Resource


def with_fitting_runtime(resources: "Sequence[Resource]") -> "list[Resource]":
    """llamacpp instead of the default vllm, where this machine cannot run vllm. Warns of each."""
    from arks.kit import machine

    if machine.has_gpu() and machine.has_program("vllm"):
        return list(resources)
    return [_fitted(resource) for resource in resources]


def _fitted(resource: "Resource") -> "Resource":
    from arks.contracts.resources import ArksApplication

    if not isinstance(resource, ArksApplication) or (
        resource.spec.runtime and "runtime" in resource.spec.model_fields_set
    ):
        return resource
    typer.echo(
        f"warning: ArksApplication {resource.name} names no runtime: llamacpp is used, because vllm cannot run here",
        err=True,
    )
    spec = resource.spec.model_copy(update={"runtime": "llamacpp"})
    return resource.model_copy(update={"spec": spec})
