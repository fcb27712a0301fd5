"""Programs of their own, beside or before an Envoy.

bootstrap.py   prints the files that an Envoy starts with
drain.py       keeps an Envoy's pod alive until its requests have ended
replay.py      takes the decisions of a recorded trace again
"""
