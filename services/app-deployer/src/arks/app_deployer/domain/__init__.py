"""What app-deployer decides, without clock or I/O: can it run here, which replicas next, what is its status."""
