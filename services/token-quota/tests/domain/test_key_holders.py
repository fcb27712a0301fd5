import pytest

from arks.kit.key import Key
from arks.token_quota.domain import key_holders
from arks.token_quota.domain.key_holders import KeyHolders, KeyOwner
from arks.token_quota.domain.keys import KeyClaim

TOM, ANN, EVE = Key("team", "tom"), Key("rivals", "ann"), Key("team", "eve")
CREATED = {TOM: 1.0, ANN: 2.0, EVE: 3.0}
KEY, OTHER = b"hash of a key", b"hash of another"
CLAIM = KeyClaim(KEY)


@pytest.fixture
def holders() -> KeyHolders:
    return KeyHolders(lambda token: CREATED[token])


def holder(holders: KeyHolders, key: bytes = KEY) -> Key | None:
    held = holders.holder(key)
    return None if held is None else held.token


def written(holders: KeyHolders, now: int = 100) -> list[KeyOwner]:
    """As the service writes rows and reads them back."""
    rows = holders.changed_rows(now)
    for row in rows:
        holders.restore(row)
    return rows


def test_a_key_whose_last_token_is_deleted_leads_nowhere(holders: KeyHolders) -> None:
    holders.claim(TOM, [CLAIM])
    holders.claim(ANN, [CLAIM])
    assert [ANN] == holders.claim(TOM, [])
    assert (None, True) == (holder(holders), holders.is_reserved(CLAIM))


def test_a_key_that_is_claimed_after_its_token_is_deleted_leads_nowhere(holders: KeyHolders) -> None:
    holders.claim(TOM, [CLAIM])
    holders.claim(TOM, [])
    holders.claim(ANN, [CLAIM])
    assert None is holder(holders)


def test_a_token_that_is_applied_again_gets_its_key_back(holders: KeyHolders) -> None:
    holders.claim(TOM, [CLAIM])
    holders.claim(ANN, [CLAIM])
    holders.claim(TOM, [])
    assert [ANN] == holders.claim(TOM, [CLAIM])
    assert TOM == holder(holders)


def test_tokens_of_one_namespace_pass_a_key_on_at_once(holders: KeyHolders) -> None:
    holders.claim(TOM, [CLAIM])
    holders.claim(ANN, [CLAIM])
    holders.claim(TOM, [])
    holders.claim(EVE, [CLAIM])
    assert EVE == holder(holders)


def test_an_older_token_that_is_edited_takes_no_key_of_another_namespace(holders: KeyHolders) -> None:
    holders.claim(ANN, [CLAIM])
    assert [KeyOwner(KEY, "rivals")] == written(holders)
    holders.claim(TOM, [CLAIM])
    assert ANN == holder(holders)


@pytest.mark.parametrize("rotated", [[], [KeyClaim(OTHER)]])
def test_a_key_that_was_replaced_stays_reserved(holders: KeyHolders, rotated: list[KeyClaim]) -> None:
    holders.claim(TOM, [KeyClaim(OTHER), KeyClaim(KEY, 5.0)])
    holders.claim(ANN, [CLAIM])
    assert TOM == holder(holders)
    holders.claim(TOM, rotated)
    assert None is holder(holders)


def test_a_restart_reserves_what_the_ledger_has_for_another_namespace(holders: KeyHolders) -> None:
    holders.restore(KeyOwner(KEY, "team"))
    holders.claim(ANN, [CLAIM])
    holders.settle()
    assert (None, [KeyOwner(KEY, "team", 100)]) == (holder(holders), written(holders))


def test_a_restart_whose_rows_come_after_the_tokens_reserves_as_well(holders: KeyHolders) -> None:
    holders.claim(ANN, [CLAIM])
    assert [ANN] == holders.restore(KeyOwner(KEY, "team"))
    assert None is holder(holders)
    holders.claim(TOM, [CLAIM])
    assert TOM == holder(holders)


def test_a_restart_without_changes_writes_nothing(holders: KeyHolders) -> None:
    holders.restore(KeyOwner(KEY, "team"))
    holders.claim(TOM, [CLAIM])
    holders.settle()
    assert [] == written(holders)


def test_another_replica_that_wrote_first_decides(holders: KeyHolders) -> None:
    holders.claim(TOM, [CLAIM])
    holders.claim(ANN, [CLAIM])
    assert [KeyOwner(KEY, "team")] == holders.changed_rows(100)
    assert [ANN, TOM] == holders.restore(KeyOwner(KEY, "rivals"))
    assert ANN == holder(holders)


def test_a_token_that_is_back_clears_the_time_of_its_release(holders: KeyHolders) -> None:
    holders.claim(TOM, [CLAIM])
    written(holders)
    holders.claim(TOM, [])
    assert [KeyOwner(KEY, "team", 100)] == written(holders)
    holders.claim(TOM, [CLAIM])
    assert [KeyOwner(KEY, "team")] == written(holders)
    assert [] == written(holders)


def test_a_reservation_ends(holders: KeyHolders) -> None:
    holders.claim(TOM, [CLAIM])
    holders.claim(ANN, [CLAIM])
    holders.claim(TOM, [])
    written(holders, 100)
    assert ([], []) == holders.expire(100)
    assert ([KeyOwner(KEY, "team", 100)], [ANN]) == holders.expire(101)
    assert (ANN, [KeyOwner(KEY, "rivals")]) == (holder(holders), written(holders))


def test_a_namespace_reserves_a_bounded_number_of_keys(holders: KeyHolders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_holders, "MAX_RESERVED", 2)
    for number in range(4):
        holders.claim(TOM, [KeyClaim(b"%d" % number)])
        written(holders, number)
    holders.claim(ANN, [KeyClaim(b"elsewhere")])
    holders.claim(ANN, [])
    written(holders, 9)
    assert [KeyOwner(b"0", "team", 1)] == holders.expire(0)[0]


def test_rows_that_could_not_be_written_are_written_later(holders: KeyHolders) -> None:
    holders.claim(TOM, [CLAIM])
    written(holders)
    holders.claim(TOM, [])
    failed = holders.changed_rows(100)
    holders.write_again(failed)
    assert failed == holders.changed_rows(200)
