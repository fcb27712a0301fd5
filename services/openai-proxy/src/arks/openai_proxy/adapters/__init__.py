"""Outbound I/O of openai-proxy.

engine.py     calls of an ARK engine over gRPC
metrics.py    Prometheus metrics of the proxy and of its engine
"""
