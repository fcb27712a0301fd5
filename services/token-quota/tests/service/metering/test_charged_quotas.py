from arks.kit.key import Key
from arks.token_quota.testing.fakes import Harness, token

OF_Q = [{"arksEndpoint": {"name": "qwen"}, "quota": {"name": "q"}}]


def test_the_last_requests_of_a_deleted_token_are_charged_to_its_budget(harness: Harness) -> None:
    harness.add(token(qos=OF_Q))
    harness.policies.apply(Key("team", "tom"), None)
    assert ("q", "") == tuple(harness.charged_quotas.of("team", "tom", name) for name in ("qwen", "phi"))


def test_a_permission_that_lost_its_budget_is_charged_to_none(harness: Harness) -> None:
    harness.add(token(qos=OF_Q), token())
    assert "" == harness.charged_quotas.of("team", "tom", "qwen")


def test_namespaces_are_those_with_tokens(harness: Harness) -> None:
    harness.add(token(), token("ann", "sk-ann", namespace="rivals"))
    harness.policies.apply(Key("rivals", "ann"), None)
    assert {"team"} == harness.charged_quotas.namespaces()
