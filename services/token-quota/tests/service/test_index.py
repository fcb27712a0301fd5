from arks.contracts.resources import QuotaPeriod
from arks.kit.key import Key
from arks.token_quota.domain.keys import KeyClaim
from arks.token_quota.domain.limits import Budget, Rates
from arks.token_quota.testing.fakes import Harness, quota, token

HUB_NAME = "Qwen/Qwen2.5-7B-Instruct"
TOM, ANN = Key("team", "tom"), Key("rivals", "ann")
OLD, NEW = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"


def name_of(harness: Harness, key: str) -> str | None:
    holder = harness.index.holder(key)
    return None if holder is None else holder.policy.name


def test_the_older_of_two_tokens_keeps_their_key_whichever_comes_first(harness: Harness) -> None:
    harness.add(token("ann", "sk-same", namespace="rivals", created=NEW), token("tom", "sk-same", created=OLD))
    assert "tom" == name_of(harness, "sk-same")
    harness = Harness()
    harness.add(token("tom", "sk-same", created=OLD), token("ann", "sk-same", namespace="rivals", created=NEW))
    assert "tom" == name_of(harness, "sk-same")


def test_when_the_older_token_is_deleted_no_other_namespace_gets_the_key_and_its_token_is_due(harness: Harness) -> None:
    due: list[Key] = []
    harness.add(token("tom", "sk-same", created=OLD), token("ann", "sk-same", namespace="rivals", created=NEW))
    harness.index.token_changes.subscribe(due.append)
    harness.tokens.apply(TOM, None)
    assert (None, [ANN]) == (name_of(harness, "sk-same"), [key for key in due if key != TOM])


def test_a_key_that_is_replaced_leads_nowhere_unless_it_is_listed_as_previous(harness: Harness) -> None:
    harness.add(token())
    harness.claim(TOM, KeyClaim(harness.index.hash("sk-new")), KeyClaim(harness.index.hash("sk-tom"), 5.0))
    old = harness.index.holder("sk-tom")
    assert old is not None
    assert 5.0 == old.until_seconds
    harness.claim(TOM, KeyClaim(harness.index.hash("sk-new")))
    assert (None, "tom") == (name_of(harness, "sk-tom"), name_of(harness, "sk-new"))


def test_a_key_that_is_current_and_previous_is_current(harness: Harness) -> None:
    harness.add(token())
    key = harness.index.hash("sk-tom")
    harness.claim(TOM, KeyClaim(key), KeyClaim(key, 5.0))
    holder = harness.index.holder("sk-tom")
    assert holder is not None
    assert None is holder.until_seconds


def test_models_are_those_that_are_permitted_and_exist(harness: Harness) -> None:
    harness.add(token(qos=[{"arksEndpoint": {"name": name}} for name in ("qwen", "phi", "gone")]))
    for name in ("qwen", "phi", "other"):
        harness.endpoint(name, ready=name != "phi")
    harness.endpoint("gone", namespace="rivals")
    holder = harness.index.holder("sk-tom")
    assert holder is not None
    assert ["phi", "qwen"] == harness.index.models(holder.policy)


def test_a_model_is_listed_and_found_by_its_public_name(harness: Harness) -> None:
    harness.add(token(qos=[{"arksEndpoint": {"name": name}} for name in ("b", "phi")]))
    for name in ("a", "b"):
        harness.endpoint(name, model=HUB_NAME)
    harness.endpoint("phi")
    holder = harness.index.holder("sk-tom")
    assert holder is not None
    assert [HUB_NAME, "phi"] == harness.index.models(holder.policy)
    found = [harness.index.endpoint_of(holder.policy, name) for name in (HUB_NAME, "b", "a", "phi", "none")]
    assert ["b", "b", "a", "phi", "none"] == found


def test_a_name_leads_to_its_endpoint_before_those_that_serve_a_model_of_that_name(harness: Harness) -> None:
    harness.add(token(qos=[{"arksEndpoint": {"name": name}} for name in ("a", "qwen")]))
    harness.endpoint("a", model="qwen")
    harness.endpoint("qwen")
    holder = harness.index.holder("sk-tom")
    assert holder is not None
    assert "qwen" == harness.index.endpoint_of(holder.policy, "qwen")


def test_of_several_endpoints_the_first_by_name_serves_a_model(harness: Harness) -> None:
    harness.add(token(qos=[{"arksEndpoint": {"name": name}} for name in ("a", "b")]))
    for name in ("b", "a"):
        harness.endpoint(name, model=HUB_NAME)
    holder = harness.index.holder("sk-tom")
    assert holder is not None
    assert "a" == harness.index.endpoint_of(holder.policy, HUB_NAME)


def test_an_endpoint_that_stays_as_it_is_has_no_change(harness: Harness) -> None:
    changed: list[Key] = []
    harness.index.endpoint_changes.subscribe(changed.append)
    for ready in (False, False, True, True):
        harness.endpoint("qwen", ready=ready)
    assert [Key("team", "qwen")] * 2 == changed


def test_a_model_was_created_with_the_endpoint_that_its_name_leads_to(harness: Harness) -> None:
    harness.add(token(qos=[{"arksEndpoint": {"name": name}} for name in ("b", "phi")]))
    for name, created_seconds in (("a", 1), ("b", 2), ("phi", 0)):
        harness.endpoint(name, model="" if name == "phi" else HUB_NAME, created_seconds=created_seconds)
    holder = harness.index.holder("sk-tom")
    assert holder is not None
    found = [harness.index.model_created_seconds(holder.policy, name) for name in (HUB_NAME, "a", "b", "phi", "none")]
    assert [2, 1, 2, 0, 0] == found


def test_an_endpoint_that_changes_its_public_name_or_ends_is_not_found_by_it(harness: Harness) -> None:
    harness.add(token())
    holder = harness.index.holder("sk-tom")
    assert holder is not None
    for name in ("a", "b"):
        harness.endpoint(name, model=HUB_NAME)
    harness.endpoint("a", model="Other/Name")
    assert ["b", "a"] == [harness.index.endpoint_of(holder.policy, name) for name in (HUB_NAME, "Other/Name")]
    harness.endpoints.apply(Key("team", "b"), None)
    assert HUB_NAME == harness.index.endpoint_of(holder.policy, HUB_NAME)


def test_limits_are_read_from_the_resources(harness: Harness) -> None:
    limits = [{"type": kind, "value": at} for at, kind in enumerate(("rpm", "rpd", "tpm", "tpd"))]
    harness.add(token(qos=[{"arksEndpoint": {"name": "qwen"}, "rateLimits": limits}]), quota(period="month", prompt=5))
    holder = harness.index.holder("sk-tom")
    assert holder is not None
    assert Rates(0, 1, 2, 3) == holder.policy.permissions["qwen"].rates
    assert Budget("q", QuotaPeriod.MONTH, prompt=5) == harness.index.budget("team", "q")
