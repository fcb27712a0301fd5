"""Configuration files of NATS and Valkey, as text: loopback only, with a password, with limits."""

from pathlib import Path

from arks.local.plan.addresses import HOST

JETSTREAM_DISK_BYTES = 4 * 1024**3
"""Events (7 days) and usage (30 days): room for 4 million requests of 1 KB each."""
VALKEY_MEMORY_BYTES = 256 * 1024**2
"""Counters and reservations, about 200 bytes each."""


def nats(port: int, token: str, directory: Path) -> str:
    """nats-server's configuration. It contains the token, so the file needs mode 0600."""
    return f"""\
server_name: arks
listen: "{HOST}:{port}"
authorization {{
  token: "{token}"
  timeout: 2
}}
jetstream {{
  store_dir: "{directory}"
  max_memory_store: 67108864
  max_file_store: {JETSTREAM_DISK_BYTES}
}}
max_connections: 256
max_payload: 1048576
max_pending: 33554432
write_deadline: "5s"
logtime_utc: true
"""


def valkey(port: int, password: str, directory: Path) -> str:
    """valkey-server's configuration. A kill loses at most the last second of counters, which the ledger restores."""
    return f"""\
bind {HOST}
port {port}
protected-mode yes
requirepass {password}
dir "{directory}"
daemonize no
databases 1
save ""
appendonly yes
appendfsync everysec
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 16mb
maxmemory {VALKEY_MEMORY_BYTES}
maxmemory-policy noeviction
maxclients 512
tcp-keepalive 60
loglevel notice
logfile ""
"""
