from arks.kit.reconcile import Key
from arks.token_quota.domain.limits import Budget, Period, Rates
from arks.token_quota.service.index.index import Claim
from arks.token_quota.testing.fakes import World, quota, token

TOM, ANN = Key("team", "tom"), Key("rivals", "ann")
OLD, NEW = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"


def name_of(world: World, key: str) -> str | None:
    holder = world.directory.holder(key)
    return None if holder is None else holder.policy.name


def test_the_older_of_two_tokens_keeps_their_key_whichever_comes_first(world: World) -> None:
    world.add(token("ann", "sk-same", namespace="rivals", created=NEW), token("tom", "sk-same", created=OLD))
    assert "tom" == name_of(world, "sk-same")
    world = World()
    world.add(token("tom", "sk-same", created=OLD), token("ann", "sk-same", namespace="rivals", created=NEW))
    assert "tom" == name_of(world, "sk-same")


def test_when_the_older_token_goes_the_newer_one_gets_the_key_and_is_told(world: World) -> None:
    told: list[Key] = []
    world.directory.on_rivals(told.append)
    world.add(token("tom", "sk-same", created=OLD), token("ann", "sk-same", namespace="rivals", created=NEW))
    world.tokens.apply(TOM, None)
    world.directory.claim(TOM, ())
    assert ("ann", [ANN]) == (name_of(world, "sk-same"), told)


def test_a_key_that_is_replaced_leads_nowhere_unless_it_is_listed_as_previous(world: World) -> None:
    world.add(token())
    world.directory.claim(TOM, [Claim(world.directory.hash("sk-new")), Claim(world.directory.hash("sk-tom"), 5.0)])
    old = world.directory.holder("sk-tom")
    assert old is not None
    assert 5.0 == old.until_seconds
    world.directory.claim(TOM, [Claim(world.directory.hash("sk-new"))])
    assert (None, "tom") == (name_of(world, "sk-tom"), name_of(world, "sk-new"))


def test_a_key_that_is_current_and_previous_is_current(world: World) -> None:
    world.add(token())
    key = world.directory.hash("sk-tom")
    world.directory.claim(TOM, [Claim(key), Claim(key, 5.0)])
    holder = world.directory.holder("sk-tom")
    assert holder is not None
    assert None is holder.until_seconds


def test_models_are_those_that_are_permitted_and_exist(world: World) -> None:
    world.add(token(qos=[{"arksEndpoint": {"name": name}} for name in ("qwen", "phi", "gone")]))
    for name in ("qwen", "phi", "other"):
        world.endpoint(name, ready=name != "phi")
    world.endpoint("gone", namespace="rivals")
    holder = world.directory.holder("sk-tom")
    assert holder is not None
    assert ["phi", "qwen"] == world.directory.models(holder.policy)


def test_limits_are_read_from_the_resources(world: World) -> None:
    limits = [{"type": kind, "value": at} for at, kind in enumerate(("rpm", "rpd", "tpm", "tpd"))]
    world.add(token(qos=[{"arksEndpoint": {"name": "qwen"}, "rateLimits": limits}]), quota(period="month", prompt=5))
    holder = world.directory.holder("sk-tom")
    assert holder is not None
    assert Rates(0, 1, 2, 3) == holder.policy.endpoints["qwen"].rates
    assert Budget("q", Period.MONTH, prompt=5) == world.directory.budget("team", "q")


def test_a_reset_that_another_replica_carried_out_is_learnt_from_status(world: World) -> None:
    told = quota(total=5).model_dump(mode="json", by_alias=True) | {"status": {"resetGeneration": 3}}
    world.add(type(quota()).from_stored(told))
    budget = world.directory.budget("team", "q")
    assert budget is not None
    assert 3 == budget.generation


def test_the_last_requests_of_a_deleted_token_are_charged_to_its_budget(world: World) -> None:
    world.add(token(qos=[{"arksEndpoint": {"name": "qwen"}, "quota": {"name": "q"}}]))
    world.tokens.apply(TOM, None)
    assert ("q", "") == (
        world.directory.quota_of("team", "tom", "qwen"),
        world.directory.quota_of("team", "tom", "phi"),
    )
