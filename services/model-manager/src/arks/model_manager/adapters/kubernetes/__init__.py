"""Models on Kubernetes: a PVC holds the weights, and a Job downloads them.

Imported only there, because the API server's client takes 70 MB of memory.
"""
