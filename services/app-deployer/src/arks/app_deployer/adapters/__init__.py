"""I/O of app-deployer. What differs between the homes is in `local/` and `kubernetes/`."""
