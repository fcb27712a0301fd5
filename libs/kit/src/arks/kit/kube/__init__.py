"""Kubernetes behind the same ports as one machine. Imported only by services that run there: its client takes 70 MB."""
