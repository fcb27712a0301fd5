"""Outbound I/O of openai-proxy.

connection.py the connections to the engine at one address
engine.py     calls over gRPC, each to the engine with the fewest in flight
metrics.py    Prometheus metrics of the proxy and of its engine
"""
