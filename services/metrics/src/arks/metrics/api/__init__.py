"""What metrics serves to others."""
