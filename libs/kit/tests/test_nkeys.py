import base64

import pytest
from nacl.signing import VerifyKey

from arks.kit.nkeys import Credentials, public_key, read_credentials, sign

SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
PUBLIC = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
"""The example of NATS' documentation."""
FILE = f"""-----BEGIN NATS USER JWT-----
eyJ0eXAi.eyJqdGki.c2ln
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.

-----BEGIN USER NKEY SEED-----
{SEED}
------END USER NKEY SEED------
"""


def test_the_public_key_of_a_seed_has_its_prefix_and_checksum() -> None:
    assert PUBLIC == public_key(SEED) == public_key(f"{SEED}\n")


def test_a_signature_is_verified_by_the_public_key() -> None:
    raw = base64.b32decode(PUBLIC)[1:-2]
    VerifyKey(raw).verify(b"nonce", base64.b64decode(sign(SEED, "nonce")))


def test_jwt_and_seed_are_read_from_a_file_of_credentials() -> None:
    assert Credentials("eyJ0eXAi.eyJqdGki.c2ln", SEED) == read_credentials(FILE)


def test_a_file_without_a_seed_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no USER NKEY SEED"):
        read_credentials(FILE.split("*", maxsplit=1)[0])


@pytest.mark.parametrize("seed", ["", "SU", SEED[:-1] + "A", "not base32!"])
def test_a_broken_seed_is_refused_without_a_word_of_it(seed: str) -> None:
    with pytest.raises(ValueError, match="the seed of the nkey") as refused:
        public_key(seed)
    assert len(seed) < 3 or seed not in str(refused.value)
