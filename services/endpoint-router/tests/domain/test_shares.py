from arks.endpoint_router.domain import Application, EndpointSpec, StaticRoute
from arks.endpoint_router.domain.shares import Share, shares


def application(name: str, served_model: str = "chat") -> Application:
    return Application(name, served_model, ())


def named(*names: str) -> dict[str, Application]:
    return {name: application(name) for name in names}


def endpoint(*routes: StaticRoute, default_weight: int = 5) -> EndpointSpec:
    return EndpointSpec("team", "chat", default_weight, routes)


def test_applications_that_serve_the_endpoints_name_get_the_default_weight() -> None:
    applications = named("b", "a") | {"other": application("other", "embed")}
    assert (Share("a", 5, static=False), Share("b", 5, static=False)) == shares(endpoint(), applications).shares


def test_static_entries_come_first_and_keep_their_weight() -> None:
    found = shares(endpoint(StaticRoute("arks-application-z", weight=2)), named("a", "z"))
    assert (Share("z", 2, static=True), Share("a", 5, static=False)) == found.shares


def test_a_static_entry_without_a_weight_has_weight_1() -> None:
    assert (Share("a", 1, static=True),) == shares(endpoint(StaticRoute("arks-application-a")), named("a")).shares


def test_two_static_entries_of_one_application_add_up() -> None:
    routes = (StaticRoute("arks-application-a", weight=2), StaticRoute("arks-application-a", weight=3))
    assert (Share("a", 5, static=True),) == shares(endpoint(*routes), named("a")).shares


def test_a_static_entry_may_name_an_application_that_serves_another_model() -> None:
    found = shares(endpoint(StaticRoute("arks-application-x", weight=2)), {"x": application("x", "chat-next")})
    assert (Share("x", 2, static=True),) == found.shares


def test_an_entry_that_cannot_be_followed_is_reported_and_the_others_hold() -> None:
    routes = (
        StaticRoute("plain-service"),
        StaticRoute("arks-application-a", namespace="elsewhere"),
        StaticRoute("arks-application-gone"),
        StaticRoute("arks-application-b", kind="ServiceImport"),
    )
    found = shares(endpoint(*routes), named("a"))
    assert (Share("a", 5, static=False),) == found.shares
    assert [
        "routeConfigs[0] 'plain-service' is not the Service of an application (arks-application-<name>): "
        "nothing else can be routed here",
        "routeConfigs[1] 'arks-application-a' is in namespace elsewhere: only applications of team are routed",
        "routeConfigs[2] 'arks-application-gone' names an application that does not exist in namespace team "
        "or has not reported replicas",
        "routeConfigs[3] 'arks-application-b' is not the Service of an application (arks-application-<name>): "
        "nothing else can be routed here",
    ] == list(found.unrouted)


def test_filters_of_a_static_entry_are_reported_as_ignored() -> None:
    found = shares(endpoint(StaticRoute("arks-application-a", filtered=True)), named("a"))
    assert (("routeConfigs[0] 'arks-application-a' is routed without its filters",), 1) == (
        found.unrouted,
        len(found.shares),
    )
