"""Rights for copies of models on nodes."""

from typing import Any


def test_copies_on_nodes_take_rights_only_where_they_are_enabled(default: Any, render: Any) -> None:
    enabled = render({"nodeCache": {"enabled": True}}).verbs_of("ClusterRole", "model-manager")
    assert ({"list", "patch"}, {"get", "list", "create", "patch", "delete"}) == (
        enabled["nodes"],
        enabled["persistentvolumes"],
    )
    assert not {"nodes", "persistentvolumes"} & default.verbs_of("ClusterRole", "model-manager").keys()
    assert default.of("DaemonSet") == []


def test_an_agent_of_a_node_has_no_account_and_no_capabilities(render: Any) -> None:
    (agent,) = render({"nodeCache": {"enabled": True}}).of("DaemonSet")
    pod = agent["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert {"drop": ["ALL"]} == pod["containers"][0]["securityContext"]["capabilities"]
    volumes = [volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume]
    assert ["/var/lib/arks-node-cache/arks-system"] == volumes
