import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReplicaState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPLICA_STATE_UNSPECIFIED: _ClassVar[ReplicaState]
    REPLICA_STATE_STARTING: _ClassVar[ReplicaState]
    REPLICA_STATE_READY: _ClassVar[ReplicaState]
    REPLICA_STATE_DRAINING: _ClassVar[ReplicaState]
    REPLICA_STATE_FAILED: _ClassVar[ReplicaState]
REPLICA_STATE_UNSPECIFIED: ReplicaState
REPLICA_STATE_STARTING: ReplicaState
REPLICA_STATE_READY: ReplicaState
REPLICA_STATE_DRAINING: ReplicaState
REPLICA_STATE_FAILED: ReplicaState

class ModelFact(_message.Message):
    __slots__ = ("namespace", "name", "generation", "ready", "path", "model", "size_bytes", "reason", "message", "updated_at", "claim_name", "weights_bytes", "kv_bytes_per_token", "context_tokens", "cache_claim_name")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    CLAIM_NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_BYTES_FIELD_NUMBER: _ClassVar[int]
    KV_BYTES_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_CLAIM_NAME_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    generation: int
    ready: bool
    path: str
    model: str
    size_bytes: int
    reason: str
    message: str
    updated_at: _timestamp_pb2.Timestamp
    claim_name: str
    weights_bytes: int
    kv_bytes_per_token: int
    context_tokens: int
    cache_claim_name: str
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ..., generation: _Optional[int] = ..., ready: _Optional[bool] = ..., path: _Optional[str] = ..., model: _Optional[str] = ..., size_bytes: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., claim_name: _Optional[str] = ..., weights_bytes: _Optional[int] = ..., kv_bytes_per_token: _Optional[int] = ..., context_tokens: _Optional[int] = ..., cache_claim_name: _Optional[str] = ...) -> None: ...

class Replica(_message.Message):
    __slots__ = ("name", "host", "port", "state", "slots", "restarts")
    NAME_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    host: str
    port: int
    state: ReplicaState
    slots: int
    restarts: int
    def __init__(self, name: _Optional[str] = ..., host: _Optional[str] = ..., port: _Optional[int] = ..., state: _Optional[_Union[ReplicaState, str]] = ..., slots: _Optional[int] = ..., restarts: _Optional[int] = ...) -> None: ...

class ReplicasFact(_message.Message):
    __slots__ = ("namespace", "application", "generation", "served_model", "runtime", "desired", "replicas", "updated_at", "unsupported", "missing_reason", "missing_message", "stages")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SERVED_MODEL_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    DESIRED_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    UNSUPPORTED_FIELD_NUMBER: _ClassVar[int]
    MISSING_REASON_FIELD_NUMBER: _ClassVar[int]
    MISSING_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    application: str
    generation: int
    served_model: str
    runtime: str
    desired: int
    replicas: _containers.RepeatedCompositeFieldContainer[Replica]
    updated_at: _timestamp_pb2.Timestamp
    unsupported: _containers.RepeatedScalarFieldContainer[str]
    missing_reason: str
    missing_message: str
    stages: _containers.RepeatedCompositeFieldContainer[StageFact]
    def __init__(self, namespace: _Optional[str] = ..., application: _Optional[str] = ..., generation: _Optional[int] = ..., served_model: _Optional[str] = ..., runtime: _Optional[str] = ..., desired: _Optional[int] = ..., replicas: _Optional[_Iterable[_Union[Replica, _Mapping]]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., unsupported: _Optional[_Iterable[str]] = ..., missing_reason: _Optional[str] = ..., missing_message: _Optional[str] = ..., stages: _Optional[_Iterable[_Union[StageFact, _Mapping]]] = ...) -> None: ...

class StageFact(_message.Message):
    __slots__ = ("name", "runtime", "desired", "replicas", "missing_reason", "missing_message")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    DESIRED_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    MISSING_REASON_FIELD_NUMBER: _ClassVar[int]
    MISSING_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    runtime: str
    desired: int
    replicas: _containers.RepeatedCompositeFieldContainer[Replica]
    missing_reason: str
    missing_message: str
    def __init__(self, name: _Optional[str] = ..., runtime: _Optional[str] = ..., desired: _Optional[int] = ..., replicas: _Optional[_Iterable[_Union[Replica, _Mapping]]] = ..., missing_reason: _Optional[str] = ..., missing_message: _Optional[str] = ...) -> None: ...

class RoutedReplica(_message.Message):
    __slots__ = ("application", "name", "host", "port", "weight")
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    application: str
    name: str
    host: str
    port: int
    weight: int
    def __init__(self, application: _Optional[str] = ..., name: _Optional[str] = ..., host: _Optional[str] = ..., port: _Optional[int] = ..., weight: _Optional[int] = ...) -> None: ...

class EndpointFact(_message.Message):
    __slots__ = ("namespace", "name", "generation", "ready", "reason", "message", "replicas", "updated_at", "model", "engine_model", "unsupported", "affinity", "created_at")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENGINE_MODEL_FIELD_NUMBER: _ClassVar[int]
    UNSUPPORTED_FIELD_NUMBER: _ClassVar[int]
    AFFINITY_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    generation: int
    ready: bool
    reason: str
    message: str
    replicas: _containers.RepeatedCompositeFieldContainer[RoutedReplica]
    updated_at: _timestamp_pb2.Timestamp
    model: str
    engine_model: str
    unsupported: _containers.RepeatedScalarFieldContainer[str]
    affinity: EndpointAffinity
    created_at: _timestamp_pb2.Timestamp
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ..., generation: _Optional[int] = ..., ready: _Optional[bool] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., replicas: _Optional[_Iterable[_Union[RoutedReplica, _Mapping]]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., model: _Optional[str] = ..., engine_model: _Optional[str] = ..., unsupported: _Optional[_Iterable[str]] = ..., affinity: _Optional[_Union[EndpointAffinity, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class EndpointAffinity(_message.Message):
    __slots__ = ("header", "prompt_bytes")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PROMPT_BYTES_FIELD_NUMBER: _ClassVar[int]
    header: str
    prompt_bytes: int
    def __init__(self, header: _Optional[str] = ..., prompt_bytes: _Optional[int] = ...) -> None: ...

class ScalingFact(_message.Message):
    __slots__ = ("namespace", "application", "generation", "autoscaler", "replicas", "reason", "message", "updated_at", "served_model", "start_seconds", "by_horizontal_pod_autoscaler", "stage")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    AUTOSCALER_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    SERVED_MODEL_FIELD_NUMBER: _ClassVar[int]
    START_SECONDS_FIELD_NUMBER: _ClassVar[int]
    BY_HORIZONTAL_POD_AUTOSCALER_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    application: str
    generation: int
    autoscaler: str
    replicas: int
    reason: str
    message: str
    updated_at: _timestamp_pb2.Timestamp
    served_model: str
    start_seconds: float
    by_horizontal_pod_autoscaler: bool
    stage: str
    def __init__(self, namespace: _Optional[str] = ..., application: _Optional[str] = ..., generation: _Optional[int] = ..., autoscaler: _Optional[str] = ..., replicas: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., served_model: _Optional[str] = ..., start_seconds: _Optional[float] = ..., by_horizontal_pod_autoscaler: _Optional[bool] = ..., stage: _Optional[str] = ...) -> None: ...
