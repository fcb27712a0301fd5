"""Builders and harnesses for the tests of metrics."""
