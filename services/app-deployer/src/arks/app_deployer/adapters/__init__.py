"""How app-deployer touches the world. One machine: engines as processes, each under a shim."""
