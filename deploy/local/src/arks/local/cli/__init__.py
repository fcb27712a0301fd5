"""The arks command: one file per command. `arks.local.render` formats the data that `arks.local.client` fetches.

At its top a module imports only what `arks --help` needs, so that help is printed at once; the rest is imported late.
"""
