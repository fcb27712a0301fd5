#!/bin/sh
# Run the rest of the line with ARKS_URL of an openai-proxy before ark-engine, with the demo's model.
# usage: proxy.sh PYTHON COMMAND...
set -e
python=$1; shift
port=$("$python" -c "from arks.kit.ports import free_port; print(free_port())")
model=$("$python" -c "from arks.kit.testing.servers import small_model; print(small_model())")
"$python" -m arks.openai_proxy.programs.with_engine --host 127.0.0.1 --port "$port" -- \
  "$python" -m arks.ark_engine.main --model "$model" --served-model-name smollm2 2>/dev/null &
trap 'kill $!; wait $! || true' EXIT
for _ in $(seq 240); do
  curl --silent --fail --output /dev/null "http://127.0.0.1:$port/readyz" && break
  sleep 0.5
done
ARKS_URL=http://127.0.0.1:$port/v1 ARKS_KEYS=no "$@"
