from arks.contracts.resources import KINDS, Resource
from arks.kit.testing.manifests import endpoint, token
from arks.local.cli.manifest_files import in_order


def test_what_others_name_is_applied_first() -> None:
    quota = {
        "apiVersion": "arks.ai/v1",
        "kind": "ArksQuota",
        "metadata": {"name": "q", "namespace": "default"},
        "spec": {"quotas": [{"type": "total", "value": 1}]},
    }
    given = [token("ada", "sk-ada-secret-000", "qwen"), quota, endpoint("qwen")]
    resources: list[Resource] = [KINDS[manifest["kind"]].from_dict(manifest) for manifest in given]
    assert ["ArksEndpoint", "ArksQuota", "ArksToken"] == [resource.kind for resource in in_order(resources)]
