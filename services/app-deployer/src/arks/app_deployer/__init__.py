"""app-deployer."""
