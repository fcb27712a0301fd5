"""Programs of openai-proxy."""
