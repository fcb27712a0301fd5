import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReplicaLoad(_message.Message):
    __slots__ = ("name", "host", "port", "measured_at", "running_requests", "waiting_requests", "kv_cache_usage_ratio", "prompt_tokens_per_second", "generation_tokens_per_second", "drain_rate_per_second", "slots", "gpu_utilization_ratio", "gpu_memory_used_bytes", "problem", "generation_tokens_total", "finished_requests_total", "stalled_seconds", "held", "prompt_tokens_total", "restarts")
    NAME_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    MEASURED_AT_FIELD_NUMBER: _ClassVar[int]
    RUNNING_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    WAITING_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    KV_CACHE_USAGE_RATIO_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    GENERATION_TOKENS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    DRAIN_RATE_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    GPU_UTILIZATION_RATIO_FIELD_NUMBER: _ClassVar[int]
    GPU_MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    GENERATION_TOKENS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    FINISHED_REQUESTS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    STALLED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    host: str
    port: int
    measured_at: _timestamp_pb2.Timestamp
    running_requests: float
    waiting_requests: float
    kv_cache_usage_ratio: float
    prompt_tokens_per_second: float
    generation_tokens_per_second: float
    drain_rate_per_second: float
    slots: int
    gpu_utilization_ratio: float
    gpu_memory_used_bytes: int
    problem: str
    generation_tokens_total: float
    finished_requests_total: float
    stalled_seconds: float
    held: bool
    prompt_tokens_total: float
    restarts: int
    def __init__(self, name: _Optional[str] = ..., host: _Optional[str] = ..., port: _Optional[int] = ..., measured_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., running_requests: _Optional[float] = ..., waiting_requests: _Optional[float] = ..., kv_cache_usage_ratio: _Optional[float] = ..., prompt_tokens_per_second: _Optional[float] = ..., generation_tokens_per_second: _Optional[float] = ..., drain_rate_per_second: _Optional[float] = ..., slots: _Optional[int] = ..., gpu_utilization_ratio: _Optional[float] = ..., gpu_memory_used_bytes: _Optional[int] = ..., problem: _Optional[str] = ..., generation_tokens_total: _Optional[float] = ..., finished_requests_total: _Optional[float] = ..., stalled_seconds: _Optional[float] = ..., held: _Optional[bool] = ..., prompt_tokens_total: _Optional[float] = ..., restarts: _Optional[int] = ...) -> None: ...

class LoadReport(_message.Message):
    __slots__ = ("namespace", "application", "measured_at", "replicas", "page_versions", "missing_signals")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    MEASURED_AT_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PAGE_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    MISSING_SIGNALS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    application: str
    measured_at: _timestamp_pb2.Timestamp
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaLoad]
    page_versions: _containers.RepeatedScalarFieldContainer[str]
    missing_signals: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, namespace: _Optional[str] = ..., application: _Optional[str] = ..., measured_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., replicas: _Optional[_Iterable[_Union[ReplicaLoad, _Mapping]]] = ..., page_versions: _Optional[_Iterable[str]] = ..., missing_signals: _Optional[_Iterable[str]] = ...) -> None: ...

class DemandReport(_message.Message):
    __slots__ = ("namespace", "endpoint", "model", "refused", "held", "holder", "held_seconds")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    HELD_SECONDS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    endpoint: str
    model: str
    refused: int
    held: int
    holder: str
    held_seconds: float
    def __init__(self, namespace: _Optional[str] = ..., endpoint: _Optional[str] = ..., model: _Optional[str] = ..., refused: _Optional[int] = ..., held: _Optional[int] = ..., holder: _Optional[str] = ..., held_seconds: _Optional[float] = ...) -> None: ...

class MetricsMember(_message.Message):
    __slots__ = ("name", "ready", "leaving")
    NAME_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    name: str
    ready: bool
    leaving: bool
    def __init__(self, name: _Optional[str] = ..., ready: _Optional[bool] = ..., leaving: _Optional[bool] = ...) -> None: ...
