"""What runs as a process of its own, besides the arks command: the supervisor, and the launchers of its programs."""
