"""What the reference engine decides. Pure.

failures.py     why a call fails: the status and its detail
bodies.py       a Generation as bodies of llama.cpp's HTTP API
answer.py        events as one answer
events.py        llama.cpp's chunks as events of the protocol
slots.py        which slot a generation gets, and who waits
state.py        KV states in chunks with checksums
"""
