"""What the arks command reads from and writes to a running Arks, and how it starts and stops the supervisor."""
