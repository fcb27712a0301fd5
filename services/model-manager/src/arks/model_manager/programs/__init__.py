"""Processes of their own: downloads on one machine, workers in pods."""
