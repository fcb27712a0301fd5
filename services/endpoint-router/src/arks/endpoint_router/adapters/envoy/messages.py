"""Make protobuf messages of Envoy's API from plain dictionaries, and the JSON of a bootstrap file from messages.

Dictionaries with Envoy's field names read like its documentation, and `message` checks every name and type against the
schemas. An extension is named by `@type`. Protobuf finds only types whose module is imported, so all are imported
here.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.health_check_pb2 import DRAINING
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.overload.v3.overload_pb2 import ScaleTimersOverloadActionConfig
from envoy.config.route.v3.route_components_pb2 import FilterConfig
from envoy.config.trace.v3.opentelemetry_pb2 import OpenTelemetryConfig
from envoy.extensions.filters.http.cors.v3.cors_pb2 import Cors, CorsPolicy
from envoy.extensions.filters.http.dynamic_modules.v3.dynamic_modules_pb2 import DynamicModuleFilter
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import HeaderMutation as HeaderMutationFilter
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.http.upstream_codec.v3.upstream_codec_pb2 import UpstreamCodec
from envoy.extensions.filters.listener.http_inspector.v3.http_inspector_pb2 import HttpInspector
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2 import HeaderMutation
from envoy.extensions.load_balancing_policies.least_request.v3.least_request_pb2 import LeastRequest
from envoy.extensions.request_id.uuid.v3.uuid_pb2 import UuidRequestIdConfig
from envoy.extensions.resource_monitors.downstream_connections.v3.downstream_connections_pb2 import (
    DownstreamConnectionsConfig,
)
from envoy.extensions.resource_monitors.fixed_heap.v3.fixed_heap_pb2 import FixedHeapConfig
from envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate
from envoy.extensions.tracers.opentelemetry.samplers.v3.parent_based_sampler_pb2 import ParentBasedSamplerConfig
from envoy.extensions.tracers.opentelemetry.samplers.v3.trace_id_ratio_based_sampler_pb2 import (
    TraceIdRatioBasedSamplerConfig,
)
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext, UpstreamTlsContext
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryResponse
from envoy.service.runtime.v3.rtds_pb2 import Runtime
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from arks.kit.ports import ALL_FAMILIES

__all__ = [
    "DRAINING",
    "BalancerModule",
    "Bootstrap",
    "Cluster",
    "ClusterLoadAssignment",
    "Cors",
    "CorsPolicy",
    "DiscoveryResponse",
    "DownstreamConnectionsConfig",
    "DownstreamTlsContext",
    "DynamicModuleFilter",
    "FilterConfig",
    "FixedHeapConfig",
    "HeaderMutation",
    "HeaderMutationFilter",
    "HttpConnectionManager",
    "HttpInspector",
    "HttpProtocolOptions",
    "LeastRequest",
    "Listener",
    "ListenerModule",
    "LoggerModule",
    "NetworkModule",
    "OpenTelemetryConfig",
    "ParentBasedSamplerConfig",
    "PreviousHostsPredicate",
    "Router",
    "Runtime",
    "ScaleTimersOverloadActionConfig",
    "Secret",
    "StringValue",
    "TlsInspector",
    "TraceIdRatioBasedSamplerConfig",
    "UpstreamCodec",
    "UpstreamTlsContext",
    "UuidRequestIdConfig",
    "as_dict",
    "extension",
    "listening_address",
    "message",
    "seconds",
    "to_json",
]

M = TypeVar("M", bound=Message)


def _module_extension(package: str, kind: str, prefix: str) -> type[Message]:
    """Define the message of an extension in a dynamic module, which xds-protos does not have yet."""
    types = {
        "dynamic_module_config": ".envoy.extensions.dynamic_modules.v3.DynamicModuleConfig",
        f"{prefix}_name": "",
        f"{prefix}_config": ".google.protobuf.Any",
    }
    dependencies = ("envoy/extensions/dynamic_modules/v3/dynamic_modules.proto", "google/protobuf/any.proto")
    file = descriptor_pb2.FileDescriptorProto(name=f"arks/{kind}.proto", package=package, syntax="proto3")
    file.dependency.extend(dependencies)
    described = file.message_type.add(name=kind)
    for number, (name, type_name) in enumerate(types.items(), 1):
        field = described.field.add(name=name, number=number, label=1, type=11 if type_name else 9)
        if type_name:
            field.type_name = type_name
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{kind}"))


BalancerModule = _module_extension(
    "envoy.extensions.load_balancing_policies.dynamic_modules.v3", "DynamicModulesLoadBalancerConfig", "lb_policy"
)
ListenerModule = _module_extension(
    "envoy.extensions.filters.listener.dynamic_modules.v3", "DynamicModuleListenerFilter", "filter"
)
LoggerModule = _module_extension(
    "envoy.extensions.access_loggers.dynamic_modules.v3", "DynamicModuleAccessLog", "logger"
)
NetworkModule = _module_extension(
    "envoy.extensions.filters.network.dynamic_modules.v3", "DynamicModuleNetworkFilter", "filter"
)


def message(kind: type[M], fields: Mapping[str, Any]) -> M:
    """Return a message of this kind.

    Raises json_format.ParseError for an unknown field, a wrong type or an extension that is not imported here.
    """
    return json_format.ParseDict(dict(fields), kind())


def extension(kind: type[Message], **fields: Any) -> dict[str, Any]:
    """Return an `Any` of Envoy's API in its JSON form."""
    return {"@type": f"type.googleapis.com/{kind.DESCRIPTOR.full_name}", **fields}


def listening_address(host: str, port: int) -> dict[str, Any]:
    """Return a SocketAddress in its JSON form. On `::` Envoy takes connections of IPv4 too."""
    return {"address": host, "port_value": port, **({"ipv4_compat": True} if host == ALL_FAMILIES else {})}


def seconds(value: float) -> str:
    """Return a google.protobuf.Duration in its JSON form."""
    return f"{value:g}s"


def as_dict(configuration: Message) -> dict[str, Any]:
    return json_format.MessageToDict(configuration, preserving_proto_field_name=True)


def to_json(configuration: Message) -> str:
    """Return the text of a configuration file that `envoy --config-path` reads (the file's name must end in .json)."""
    return json_format.MessageToJson(configuration, preserving_proto_field_name=True, indent=2) + "\n"
