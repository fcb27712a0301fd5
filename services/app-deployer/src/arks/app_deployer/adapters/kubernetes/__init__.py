"""Workloads on Kubernetes: LeaderWorkerSets and Services at the API server, replicas from pods."""
