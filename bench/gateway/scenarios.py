"""The kinds of traffic that are compared."""

import json
from dataclasses import dataclass

from bench.gateway.load import Load

CLUSTER_HEADER = "bench-cluster"
"""Header by which a client of plain Envoy names the cluster."""
KEYS = 1000
FAR, NEAR = "sk-bench-", "sk-near-"
"""Prefixes of API keys whose limits are never reached, and reached after a moment. Six digits follow."""


@dataclass(frozen=True)
class Engine:
    """How an engine answers: arguments of bench/native/engine.c."""

    model: str
    chunks: int = 0
    """Number of events with content; 0: a JSON answer."""
    mode: str = "whole"
    pace: tuple[int, ...] = ()
    """Microseconds to the first event, and between events."""

    @property
    def arguments(self) -> tuple[str, ...]:
        return (str(self.chunks), self.mode, *map(str, self.pace))


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    engine: Engine
    connections: int = 16
    rate: float = 0.0
    """Requests per second of an open loop; 0: as many as 16 connections can do."""
    keys: int = 1
    key_prefix: str = FAR
    prompt_bytes: int = 40

    @property
    def expected(self) -> frozenset[str]:
        """Statuses that are no failures."""
        return frozenset({"200"} if self.key_prefix == FAR else {"200", "429"})

    @property
    def gap_limit_ms(self) -> float:
        """Inter-token time + 5 ms; 0 for streams without a pace."""
        return self.engine.pace[1] / 1000 + 5 if self.engine.pace else 0.0

    @property
    def load(self) -> Load:
        request = request_bytes(self.engine, self.key_prefix, self.prompt_bytes)
        return Load(request, self.connections, self.keys, self.rate, gap_limit_ms=self.gap_limit_ms)


def request_bytes(engine: Engine, key_prefix: str, prompt_bytes: int = 40, max_tokens: int | None = 16) -> bytes:
    """Return a chat completion for this engine's model. Six digits follow the prefix of the key, from the load."""
    message = {"role": "user", "content": ("a question " * (prompt_bytes // 11 + 1))[:prompt_bytes]}
    stream = {"stream": True, "stream_options": {"include_usage": True}} if engine.chunks else {}
    most = {} if max_tokens is None else {"max_tokens": max_tokens}
    body = json.dumps({"model": engine.model, **most, **stream, "messages": [message]}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {key_prefix}######\r\n{CLUSTER_HEADER}: default/{engine.model}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


JSON = Engine("json")
STREAM = Engine("stream", chunks=16)
APART = Engine("apart", chunks=16, mode="apart")
PACED = Engine("paced", chunks=16, mode="paced", pace=(20_000, 20_000))
ENGINES = (JSON, STREAM, APART, PACED)
SCENARIOS = (
    Scenario("json", "non-stream", JSON),
    Scenario("json-rate", "non-stream", JSON, rate=500),
    Scenario("stream", "stream of 16 chunks, written at once", STREAM),
    Scenario("stream-rate", "stream of 16 chunks, written at once", STREAM, rate=500),
    Scenario("apart", "stream of 16 chunks, one by one", APART),
    Scenario("paced", "stream of 16 chunks, one every 20 ms", PACED, connections=128, rate=50),
    Scenario("large", "220 KB prompt", JSON, prompt_bytes=220_000),
    Scenario("keys", "non-stream, 1,000 tokens", JSON, keys=KEYS),
    Scenario("keys-rate", "non-stream, 1,000 tokens", JSON, keys=KEYS, rate=500),
    Scenario("near", "non-stream, most requests over the limit", JSON, key_prefix=NEAR),
)
