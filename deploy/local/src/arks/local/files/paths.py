"""Paths of the files of one Arks on this machine: one directory, readable by its owner only."""

from dataclasses import dataclass
from pathlib import Path

DEFAULT_HOME = Path("~/.arks")


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
    def nats_config(self) -> Path:
        return self.run / "nats.conf"

    @property
    def valkey_config(self) -> Path:
        return self.run / "valkey.conf"

    @property
    def envoy_bootstrap(self) -> Path:
        return self.run / "envoy.json"

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
    def demo_key(self) -> Path:
        return self.home / "demo-key"
