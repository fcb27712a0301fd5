"""Read every replica of every application a few times a second and publish a load report for each application."""
