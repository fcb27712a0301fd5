"""Leases and rejections of the gateway's native filter, called in this process with a time in milliseconds."""

from pathlib import Path

from arks.endpoint_router.testing.native import call

NOW = 1_795_843_628_123
GRANT = b"default/m/alice/lease0000001/10/20"


def number(value: int) -> bytes:
    return b"%d" % value


def run(name: str, *arguments: bytes | int | None) -> list[bytes | None]:
    return call(name, *(number(each) if isinstance(each, int) else each for each in arguments))


def numbers(members: list[bytes | None]) -> tuple[int | None, ...]:
    return tuple(None if member is None else int(member) for member in members)


def is_true(members: list[bytes | None]) -> bool:
    return members == [b"1"]


def new(name: str, *arguments: bytes | int) -> bytes:
    (handle,) = run(name, *arguments)
    assert handle is not None
    return handle


class Account:
    """The state of one key and model."""

    def __init__(self) -> None:
        self.handle = new("account_new")

    def query(self, now: int) -> tuple[tuple[int | None, ...], bool]:
        *demand, is_demand = run("account_query", self.handle, now)
        return numbers(demand), is_demand is not None

    def end_query(self, sent: int) -> None:
        run("account_end_query", self.handle, sent)

    def accept(self, sent: int, amount: bytes, *, now: int = 0, grant: bytes = GRANT) -> str:
        """Return the lease's line."""
        (line,) = run("account_accept", self.handle, sent, now or sent, grant, amount)
        assert line is not None
        return line.decode()

    def take(self, now: int, prompt: int = 1, completion: int = 1) -> bool:
        return is_true(run("account_take", self.handle, now, prompt, completion))

    def renews(self, now: int, prompt: int = 1, completion: int = 1) -> bool:
        return run("account_renews", self.handle, now, prompt, completion) != []

    def ends_in(self, now: int) -> int | None:
        """Return the remaining time of the present lease, if the next one should be queried because that ends."""
        members = run("account_renews", self.handle, now, 1, 1)
        return numbers(members)[0] if members else None

    def begin_renewal(self, now: int) -> tuple[int | None, ...]:
        """Return the demand."""
        return numbers(run("account_begin_renewal", self.handle, now))

    def end_renewal(
        self, now: int, amount: bytes, begins: int | None = None, *, grant: bytes = GRANT, starts: Path | None = None
    ) -> None:
        path = str(starts or "/dev/null").encode()
        run("account_end_renewal", self.handle, now, path, grant, amount, begins)

    def use_renewal(self, now: int, prompt: int = 1, completion: int = 1) -> bool:
        return is_true(run("account_use_renewal", self.handle, now, prompt, completion))

    def needs_confirmation(self, now: int) -> bool:
        return is_true(run("account_needs_confirmation", self.handle, now))

    def since(self, now: int) -> int:
        (since,) = numbers(run("account_since", self.handle, now))
        assert since is not None
        return since

    def confirm(self, sent: int, ended: bytes | None = b"-", life: bytes | None = b"life1", *, now: int = 0) -> None:
        run("account_confirm", self.handle, sent, now or sent, life, ended)

    def set_policy(self, policy: bytes) -> None:
        run("account_policy", self.handle, policy)

    def outage(self, now: int) -> bool:
        return is_true(run("account_outage", self.handle, now))


def leased(amount: bytes = b"2,10,20,1000,512") -> Account:
    account = Account()
    account.query(NOW)
    account.accept(NOW, amount)
    account.end_query(NOW)
    return account


LONG = b"1000,9000,9000,15000,512"


def confirmed() -> Account:
    account = Account()
    account.confirm(NOW)
    account.accept(NOW + 10, LONG)
    assert account.take(NOW + 15)
    return account
