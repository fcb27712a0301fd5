"""Paths of the files of one Arks on this machine: one directory, readable by its owner only."""

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

DEFAULT_HOME = Path("~/.arks")
SOCKET_DIRECTORY_BYTES = 80
"""A path of a Unix socket may have 107 bytes."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Names of the files under the home directory. Only `create` touches the disk."""

    home: Path

    @classmethod
    def of(cls, home: Path) -> "Paths":
        return cls(home.expanduser().resolve())

    def create(self) -> None:
        """Create the directories. Raises OSError."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.home.chmod(0o700)
        for directory in (self.run, self.logs, self.nats, self.valkey, self.usage_log.parent):
            directory.mkdir(exist_ok=True, mode=0o700)
        self.sockets.mkdir(exist_ok=True, mode=0o700)
        _check_private(self.sockets)

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def state(self) -> Path:
        return self.run / "state.json"

    @property
    def lock(self) -> Path:
        return self.run / "supervisor.lock"

    @property
    def pid(self) -> Path:
        return self.run / "pid"

    @property
    def installation(self) -> Path:
        return self.run / "installation"

    @property
    def nats_config(self) -> Path:
        return self.run / "nats.conf"

    @property
    def valkey_config(self) -> Path:
        return self.run / "valkey.conf"

    @property
    def envoy_bootstrap(self) -> Path:
        return self.run / "envoy.json"

    @property
    def sockets(self) -> Path:
        """The directory of Unix sockets; elsewhere if the kernel would cut their paths short."""
        if len(bytes(self.run)) <= SOCKET_DIRECTORY_BYTES:
            return self.run
        name = hashlib.sha256(bytes(self.home)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"arks-{os.getuid()}-{name}"

    @property
    def xds_socket(self) -> Path:
        return self.sockets / "xds.sock"

    @property
    def envoy_admin_socket(self) -> Path:
        return self.sockets / "envoy-admin.sock"

    @property
    def token_quota_socket(self) -> Path:
        return self.sockets / "token-quota.sock"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    def log(self, process: str) -> Path:
        return self.logs / f"{process}.log"

    @property
    def bytecode(self) -> Path:
        """Compiled Python, for users who set PYTHONDONTWRITEBYTECODE."""
        return self.home / "bytecode"

    @property
    def nats(self) -> Path:
        return self.home / "nats"

    @property
    def valkey(self) -> Path:
        return self.home / "valkey"

    @property
    def engines(self) -> Path:
        return self.home / "engines"

    @property
    def disaggregated(self) -> Path:
        """As `engines`, of disaggregated applications."""
        return self.home / "disaggregated"

    def models(self, namespace: str, name: str) -> Path:
        """The directory of a model whose storage has no subPath."""
        return self.home / "models" / namespace / name

    @property
    def secrets(self) -> Path:
        return self.home / "secrets"

    @property
    def usage_log(self) -> Path:
        return self.home / "usage" / "usage.log"

    @property
    def ledger(self) -> Path:
        return self.home / "ledger.db"

    @property
    def nats_token(self) -> Path:
        return self.home / "nats-token"

    @property
    def valkey_password(self) -> Path:
        return self.home / "valkey-password"

    @property
    def pepper(self) -> Path:
        return self.home / "pepper"

    @property
    def operator_token(self) -> Path:
        return self.home / "operator-token"

    @property
    def demo_key(self) -> Path:
        return self.home / "demo-key"


def _check_private(directory: Path) -> None:
    """Raises PermissionError if another user could replace the files in the directory."""
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{directory} must be a directory of this user, with mode 0700")
