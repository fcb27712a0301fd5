"""Reads every engine and says how busy it is."""
