"""What admission looks up, in memory."""
