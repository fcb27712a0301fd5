"""Manifests: YAML or JSON text to typed resources, every error with its file, line and field. Pure: text in, no I/O."""

from arks.local.manifests.parse import Finding, Manifests, parse_manifests

__all__ = ["Finding", "Manifests", "parse_manifests"]
