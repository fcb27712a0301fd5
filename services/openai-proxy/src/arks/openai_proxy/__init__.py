"""Serves an ARK gRPC engine over OpenAI's HTTP API."""
