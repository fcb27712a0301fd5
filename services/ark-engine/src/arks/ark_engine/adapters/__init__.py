"""Outbound I/O of ark-engine.

llama_server.py   llama.cpp in this process
llama.py          its HTTP API on loopback
prefillers.py     prefillers over gRPC
metrics.py        Prometheus metrics
"""
