"""Rights and settings for the namespaces that a release serves."""

from typing import Any


def test_routes_are_granted_and_written_for_the_same_namespaces(render: Any) -> None:
    namespaces = [f"team-{number}" for number in range(20)]
    rendered = render({"gateway": {"httpRoutes": {"namespaces": namespaces}}})
    granted = [peer["namespace"] for grant in rendered.of("ReferenceGrant") for peer in grant["spec"]["from"]]
    named = [found["metadata"]["name"] for found in rendered.of("ReferenceGrant")]
    written = rendered.environment("endpoint-router")["ARKS_HTTP_ROUTE_NAMESPACES"].split(",")
    allowed = [
        role["metadata"]["namespace"]
        for role in rendered.of("Role", "endpoint-router")
        if role["rules"][0]["resources"] == ["httproutes"]
    ]
    assert (namespaces, namespaces, namespaces, 2) == (granted, written, allowed, len(set(named)))


LABELS = {
    "matchLabels": {"team": "a"},
    "matchExpressions": [
        {"key": "stage", "operator": "In", "values": ["test", "live"]},
        {"key": "old", "operator": "DoesNotExist"},
    ],
}
SELECTOR = "team=a,stage in (test,live),!old"


def test_a_selector_of_namespaces_reaches_every_service_with_the_right_to_watch_them(render: Any) -> None:
    rendered, default = render({"watchNamespaceSelector": LABELS}), render()
    for service in ("model-manager", "app-deployer", "metrics", "endpoint-router", "token-quota", "usage-meter"):
        assert SELECTOR == rendered.environment(service)["ARKS_WATCH_NAMESPACE_SELECTOR"]
        assert {"list", "watch"} == rendered.verbs_of("ClusterRole", service)["namespaces"]
        assert "namespaces" not in default.verbs_of("ClusterRole", service)
    (marker,) = (each for each in rendered.of("ClusterRole") if "arks.ai/marker" in each["metadata"]["labels"])
    assert SELECTOR == marker["metadata"]["annotations"]["arks.ai/serves"]
    assert "arks-serves-all-namespaces" != marker["metadata"]["name"]


def test_a_selector_of_namespaces_with_routes_gives_endpoint_router_the_rights_for_them(render: Any) -> None:
    rendered = render({"gateway": {"httpRoutes": {"namespaces": ["listed"], "namespaceSelector": LABELS}}})
    environment = rendered.environment("endpoint-router")
    assert ("listed", SELECTOR) == (
        environment["ARKS_HTTP_ROUTE_NAMESPACES"],
        environment["ARKS_HTTP_ROUTE_NAMESPACE_SELECTOR"],
    )
    everywhere, here = (rendered.verbs_of(kind, "endpoint-router") for kind in ("ClusterRole", "Role"))
    assert ({"get", "create", "patch", "delete"}, {"list", "watch"}) == (
        everywhere["httproutes"],
        everywhere["namespaces"],
    )
    assert {"get", "list", "create", "delete"} == here["referencegrants"]
    assert "referencegrants" not in everywhere
    (grant,) = rendered.of("ReferenceGrant")
    assert ["listed"] == [peer["namespace"] for peer in grant["spec"]["from"]]
