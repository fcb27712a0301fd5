"""The arks command: one file a group of commands. arks.local.render makes what they print from what store fetches.

A module imports at its top only what it needs to say what its commands are called: `arks --help` must answer at once.
"""
