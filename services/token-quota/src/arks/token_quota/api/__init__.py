"""The inbound edge: HTTP for Envoy's filter, clients and operators."""
