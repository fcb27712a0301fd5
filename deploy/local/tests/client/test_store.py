from arks.contracts.resources import ArksToken, Secret
from arks.local.client.store import encoded, hashed


def test_only_the_hash_of_a_key_is_stored() -> None:
    spec = {
        "token": "sk-secret",
        "previous": [{"token": "sk-older", "until": "2027-01-01T00:00:00Z"}],
        "qos": [{"arksEndpoint": {"name": "qwen"}}],
    }
    token = ArksToken.from_dict(
        {"apiVersion": "arks.ai/v1", "kind": "ArksToken", "metadata": {"name": "ada"}, "spec": spec}
    )
    stored = hashed(token, b"pepper")
    text = str(stored.to_dict(reveal_secrets=True))
    assert "sk-" not in text
    assert 2 == text.count("hmac-sha256:")
    assert stored == hashed(stored, b"pepper")


def test_values_of_a_secret_are_stored_in_base64_without_line_breaks() -> None:
    secret = Secret.from_dict(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s"},
            "data": {"a": "aGVs\n bG8=", "b": "eA=="},
            "stringData": {"b": "clear"},
        }
    )
    assert {"a": "aGVsbG8=", "b": "Y2xlYXI="} == encoded(secret)
