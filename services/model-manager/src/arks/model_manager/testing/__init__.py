"""For tests: harnesses of the service, a cluster, and the contract of storage adapters."""
