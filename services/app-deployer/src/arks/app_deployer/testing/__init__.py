"""For tests: the contract that every adapter of the port Workloads must keep, and an engine that does as it is told."""
