#!/bin/sh
# Serve OpenAI's API on port 18080 for the engine at HTTP_FORWARD_GRPC_HOST:HTTP_FORWARD_GRPC_PORT.
exec uvicorn openai_api_server:app --host "${HOST:-0.0.0.0}" --port "${PORT:-18080}" \
  --no-access-log --timeout-graceful-shutdown 30
