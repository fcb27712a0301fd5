"""The platform's defaults in finished pod templates of engines and routers: a change is a new revision. Pure."""

from arks.app_deployer.domain.launch.manifests import (
    APPLIED,
    REVISION,
    Templates,
    digest,
    marked,
    stamped,
    with_revision,
)
from arks.kit.kube.pod_defaults import NO_DEFAULTS, PodDefaults
from arks.kit.types import Json


def in_templates(made: Templates, defaults: PodDefaults) -> Templates:
    if defaults == NO_DEFAULTS:
        return made
    leader, worker = defaults.apply(made.leader), defaults.apply(made.worker)
    return with_revision(leader, worker, made.size)


def in_deployment(body: Json, defaults: PodDefaults) -> Json:
    if defaults == NO_DEFAULTS:
        return body
    template = defaults.apply(body["spec"]["template"])
    revision = digest(template)
    annotations = {name: value for name, value in body["metadata"]["annotations"].items() if name != APPLIED}
    metadata = {**body["metadata"], "annotations": {**annotations, REVISION: revision}}
    return stamped({**body, "metadata": metadata, "spec": {**body["spec"], "template": marked(template, revision)}})
