"""Manifests of an ArksDisaggregatedApplication: a set a stage, the router's Deployment with its account, a Service."""

from dataclasses import replace

from arks.app_deployer.domain.launch import disaggregated_commands, pod_templates, scheduling, shared_memory
from arks.app_deployer.domain.launch.arguments import as_arguments
from arks.app_deployer.domain.launch.containers import Container, label_value
from arks.app_deployer.domain.launch.disaggregated_commands import Stage, stage_host
from arks.app_deployer.domain.launch.manifests import (
    MANAGED,
    PART,
    REVISION,
    ROLE,
    Templates,
    copy_of,
    digest,
    for_set,
    marked,
    metadata,
    path_of,
    pvc_of,
    service,
    set_name,
    stamped,
    with_revision,
)
from arks.app_deployer.domain.launch.pod_templates import PodFrame, Serving, http_readiness, serving_of
from arks.app_deployer.domain.launch.profile_set import Profiles
from arks.contracts.names import APPLICATION_LABEL, MODEL_LABEL
from arks.contracts.resources import ArksDisaggregatedApplication, DisaggregatedWorkload, RolloutStrategy
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.types import Json

ROUTER = "router"
_CONTAINER = "main"


def child_name(application: str, part: str) -> str:
    return f"{application}-{part}"


def stage_name(application: str, stage: Stage) -> str:
    return set_name(child_name(application, stage))


def workload(application: ArksDisaggregatedApplication, stage: Stage) -> DisaggregatedWorkload:
    return application.spec.prefill if stage is Stage.PREFILL else application.spec.decode


def stage_templates(
    application: ArksDisaggregatedApplication, stage: Stage, model: ModelFact, profiles: Profiles, grace_seconds: float
) -> Templates:
    """Raises NoLaunch."""
    profile = disaggregated_commands.launch_of(application.spec, profiles).profile
    group = disaggregated_commands.group(application, path_of(model), profiles)
    made = group.prefill if stage is Stage.PREFILL else group.decode
    desired = workload(application, stage)
    frame = PodFrame(pvc_of(model), tuple(application.spec.runtime_image_pull_secrets), grace_seconds, profile)
    frame = replace(
        frame,
        pull_policy=application.spec.runtime_image_pull_policy,
        scheduling=scheduling.pod_scheduling(application.spec.pod_group_policy),
        copy=copy_of(model),
    )
    arguments = as_arguments(desired.runtime_common_args)
    shared = shared_memory.is_needed(profile.shared_memory, None, arguments)
    labels = disaggregated_commands.leader_labels(application.name, application.spec.model.name, stage)

    def template(container: Container, role: str, serving: Serving | None) -> Json:
        ours = {**labels, ROLE: role}
        return pod_templates.template(
            _CONTAINER, container, desired.instance_spec, frame, labels=ours, serving=serving, shared_memory=shared
        )

    leader = template(made.leader, "leader", serving_of(profile))
    worker = template(made.worker or made.leader, "worker", None)
    return for_set(with_revision(leader, worker, desired.size), application, desired.instance_spec)


def router_deployment(
    application: ArksDisaggregatedApplication, model: ModelFact, profiles: Profiles, grace_seconds: float
) -> Json:
    """A new router is there before an old one goes; it needs no model. Raises NoLaunch."""
    spec, router = application.spec, application.spec.router
    profile = disaggregated_commands.launch_of(spec, profiles).profile.router
    container = disaggregated_commands.group(application, path_of(model), profiles).router
    port = router.serving_port
    serving = Serving(
        port=port,
        readiness=http_readiness(profile.readiness_path, port),
        drain=profile.drain,
        more_ports={"metrics": router.serving_metric_port} if profile.metrics is None else {},
    )
    labels = {APPLICATION_LABEL: application.name, PART: ROUTER}
    template = pod_templates.template(
        _CONTAINER,
        container,
        router.instance_spec,
        PodFrame(
            None, tuple(spec.runtime_image_pull_secrets), grace_seconds, pull_policy=spec.runtime_image_pull_policy
        ),
        labels={**labels, MODEL_LABEL: label_value(spec.model.name)},
        serving=serving,
    )
    if profile.watches_pods:
        template["spec"].setdefault("serviceAccountName", child_name(application.name, ROUTER))
    revision = digest(template)
    meta = metadata(application, child_name(application.name, ROUTER), {**MANAGED, **labels})
    return stamped(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta | {"annotations": {REVISION: revision}},
            "spec": {
                "replicas": router.replicas,
                "selector": {"matchLabels": labels},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": _update(spec.rollout_strategy)},
                "template": marked(template, revision),
            },
        }
    )


def _update(strategy: RolloutStrategy) -> Json:
    return {"maxUnavailable": int(strategy.without_surge), "maxSurge": int(not strategy.without_surge)}


def router_account(application: ArksDisaggregatedApplication, profiles: Profiles) -> list[Json]:
    """Service account, role and binding by which a router may look for its engines.

    None where it does not, or where the user names one. Raises NoLaunch.
    """
    given = application.spec.router.instance_spec
    watches = disaggregated_commands.launch_of(application.spec, profiles).profile.router.watches_pods
    if not watches or (given is not None and given.service_account_name):
        return []
    name = child_name(application.name, ROUTER)
    meta = metadata(application, name, {**MANAGED, APPLICATION_LABEL: application.name})
    rbac = "rbac.authorization.k8s.io"
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": application.namespace}
    role = {"apiGroup": rbac, "kind": "Role", "name": name}
    objects: list[Json] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": [rule]},
        {"apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "metadata": meta, "subjects": [subject], "roleRef": role},
    ]
    return [stamped(body) for body in objects]


def router_service(application: ArksDisaggregatedApplication) -> Json:
    labels = {APPLICATION_LABEL: application.name, MODEL_LABEL: label_value(application.spec.model.name)}
    port = application.spec.router.serving_port
    return service(application, labels=labels, selector={**labels, PART: ROUTER}, port=port)


def stage_services(application: ArksDisaggregatedApplication, profiles: Profiles) -> list[Json]:
    """Names of the stages' ready leaders, if the runtime finds them by name. Raises NoLaunch."""
    profile = disaggregated_commands.launch_of(application.spec, profiles).profile
    return [_stage_service(application, stage, profile.port) for stage in Stage if profile.stage_services]


def _stage_service(application: ArksDisaggregatedApplication, stage: Stage, port: int) -> Json:
    labels = disaggregated_commands.leader_labels(application.name, application.spec.model.name, stage)
    meta = metadata(application, stage_host(application.name, stage), {**MANAGED, **labels})
    ports = [{"name": "http", "port": port, "targetPort": port, "protocol": "TCP"}]
    spec = {"clusterIP": "None", "selector": labels, "ports": ports}
    return stamped({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
