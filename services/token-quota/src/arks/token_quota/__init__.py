"""token-quota."""
