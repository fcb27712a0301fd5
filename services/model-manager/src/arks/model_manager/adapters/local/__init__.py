"""Models in directories of one machine, filled by download processes."""
