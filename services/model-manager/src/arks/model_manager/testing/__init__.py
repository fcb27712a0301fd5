"""For tests: the service in a harness, and what every storage adapter has to keep (`contract`)."""
