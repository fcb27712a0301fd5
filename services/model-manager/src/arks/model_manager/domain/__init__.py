"""What to do next about a model, and what its status is then. Pure: data in, decision out.

Nothing is imported here: download processes import `protocol`, and start for every download.
"""
