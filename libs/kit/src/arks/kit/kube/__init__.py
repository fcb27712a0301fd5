"""The home on Kubernetes. Imported only if a service runs there, because its client takes 70 MB."""
