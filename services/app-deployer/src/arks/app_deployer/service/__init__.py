"""Use cases of app-deployer, and the ports that they need."""
