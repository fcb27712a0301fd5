import pytest

from arks.contracts.api_key import MAX_KEY_LENGTH, hash_key, is_key, is_key_hash

KEY = "sk-1"


@pytest.mark.parametrize("text", ["k", KEY, "!~", "k" * MAX_KEY_LENGTH])
def test_visible_ascii_characters_are_a_key(text: str) -> None:
    assert is_key(text)


@pytest.mark.parametrize("text", ["", "a b", "a\n", "a\t", "é", "\x7f", "k" * (MAX_KEY_LENGTH + 1)])
def test_other_text_is_no_key(text: str) -> None:
    assert not is_key(text)


def test_the_hash_of_a_key_depends_on_pepper_and_key_and_does_not_hold_it() -> None:
    assert is_key_hash(hash_key(b"pepper", KEY))
    assert hash_key(b"pepper", KEY) == hash_key(b"pepper", KEY)
    assert 3 == len({hash_key(b"a", KEY), hash_key(b"b", KEY), hash_key(b"a", KEY + "x")})
    assert KEY not in hash_key(b"pepper", KEY)


@pytest.mark.parametrize("text", ["hmac-sha256:" + "A" * 64, "sha256:" + "0" * 64, "hmac-sha256:" + "0" * 63])
def test_other_text_is_no_hash(text: str) -> None:
    assert not is_key_hash(text)
