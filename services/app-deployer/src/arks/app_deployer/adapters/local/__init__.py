"""I/O of app-deployer on one machine: engine processes and their files."""
