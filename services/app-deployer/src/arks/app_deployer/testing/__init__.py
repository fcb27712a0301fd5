"""For tests: the contract that every adapter of the port Workloads must keep, and an engine that obeys the test."""
