"""What runs in one Arks on one machine: programs, their binaries, ports and configuration, and the demo."""
