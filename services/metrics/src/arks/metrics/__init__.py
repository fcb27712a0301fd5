"""Reads every engine and reports its load."""
