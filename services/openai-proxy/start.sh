#!/bin/sh
# Serve OpenAI's API on port 18080 for the engine at HTTP_FORWARD_GRPC_HOST:HTTP_FORWARD_GRPC_PORT.
# Idle connections stay open for longer than gateways keep them (an hour): the side that closes must be the client, or a
# request that is sent at that moment is lost.
exec uvicorn openai_api_server:app --host "${HOST:-0.0.0.0}" --port "${PORT:-18080}" \
  --no-access-log --timeout-keep-alive 3700 --timeout-graceful-shutdown 30
