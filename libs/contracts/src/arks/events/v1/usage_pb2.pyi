import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UsageSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    USAGE_SOURCE_UNSPECIFIED: _ClassVar[UsageSource]
    USAGE_SOURCE_ENGINE: _ClassVar[UsageSource]
    USAGE_SOURCE_DELIVERED: _ClassVar[UsageSource]
    USAGE_SOURCE_RESERVATION: _ClassVar[UsageSource]
    USAGE_SOURCE_NONE: _ClassVar[UsageSource]
USAGE_SOURCE_UNSPECIFIED: UsageSource
USAGE_SOURCE_ENGINE: UsageSource
USAGE_SOURCE_DELIVERED: UsageSource
USAGE_SOURCE_RESERVATION: UsageSource
USAGE_SOURCE_NONE: UsageSource

class UsageRecord(_message.Message):
    __slots__ = ("request_id", "namespace", "token", "endpoint", "operation", "started_at", "duration_milliseconds", "first_byte_milliseconds", "status_code", "response_flags", "prompt_tokens", "completion_tokens", "source", "stream", "replica", "reserved_prompt_tokens", "reserved_completion_tokens", "lease", "started_at_milliseconds", "was_reported_started", "retries")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    DURATION_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    FIRST_BYTE_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    STATUS_CODE_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FLAGS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    RESERVED_PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RESERVED_COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    WAS_REPORTED_STARTED_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    namespace: str
    token: str
    endpoint: str
    operation: str
    started_at: _timestamp_pb2.Timestamp
    duration_milliseconds: int
    first_byte_milliseconds: int
    status_code: int
    response_flags: str
    prompt_tokens: int
    completion_tokens: int
    source: UsageSource
    stream: bool
    replica: str
    reserved_prompt_tokens: int
    reserved_completion_tokens: int
    lease: str
    started_at_milliseconds: int
    was_reported_started: bool
    retries: int
    def __init__(self, request_id: _Optional[str] = ..., namespace: _Optional[str] = ..., token: _Optional[str] = ..., endpoint: _Optional[str] = ..., operation: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., duration_milliseconds: _Optional[int] = ..., first_byte_milliseconds: _Optional[int] = ..., status_code: _Optional[int] = ..., response_flags: _Optional[str] = ..., prompt_tokens: _Optional[int] = ..., completion_tokens: _Optional[int] = ..., source: _Optional[_Union[UsageSource, str]] = ..., stream: _Optional[bool] = ..., replica: _Optional[str] = ..., reserved_prompt_tokens: _Optional[int] = ..., reserved_completion_tokens: _Optional[int] = ..., lease: _Optional[str] = ..., started_at_milliseconds: _Optional[int] = ..., was_reported_started: _Optional[bool] = ..., retries: _Optional[int] = ...) -> None: ...

class StartedRequest(_message.Message):
    __slots__ = ("request_id", "token", "endpoint", "operation", "lease", "started_at_milliseconds", "reserved_prompt_tokens", "reserved_completion_tokens")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    RESERVED_PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RESERVED_COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    token: str
    endpoint: str
    operation: str
    lease: str
    started_at_milliseconds: int
    reserved_prompt_tokens: int
    reserved_completion_tokens: int
    def __init__(self, request_id: _Optional[str] = ..., token: _Optional[str] = ..., endpoint: _Optional[str] = ..., operation: _Optional[str] = ..., lease: _Optional[str] = ..., started_at_milliseconds: _Optional[int] = ..., reserved_prompt_tokens: _Optional[int] = ..., reserved_completion_tokens: _Optional[int] = ...) -> None: ...

class ClosedLease(_message.Message):
    __slots__ = ("lease", "unused_requests", "unused_prompt_tokens", "unused_completion_tokens")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    UNUSED_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    UNUSED_PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    UNUSED_COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    lease: str
    unused_requests: int
    unused_prompt_tokens: int
    unused_completion_tokens: int
    def __init__(self, lease: _Optional[str] = ..., unused_requests: _Optional[int] = ..., unused_prompt_tokens: _Optional[int] = ..., unused_completion_tokens: _Optional[int] = ...) -> None: ...

class UsageBatch(_message.Message):
    __slots__ = ("id", "gateway", "namespace", "complete_until_milliseconds", "records", "started", "closed_leases")
    ID_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_UNTIL_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    CLOSED_LEASES_FIELD_NUMBER: _ClassVar[int]
    id: str
    gateway: str
    namespace: str
    complete_until_milliseconds: int
    records: _containers.RepeatedCompositeFieldContainer[UsageRecord]
    started: _containers.RepeatedCompositeFieldContainer[StartedRequest]
    closed_leases: _containers.RepeatedCompositeFieldContainer[ClosedLease]
    def __init__(self, id: _Optional[str] = ..., gateway: _Optional[str] = ..., namespace: _Optional[str] = ..., complete_until_milliseconds: _Optional[int] = ..., records: _Optional[_Iterable[_Union[UsageRecord, _Mapping]]] = ..., started: _Optional[_Iterable[_Union[StartedRequest, _Mapping]]] = ..., closed_leases: _Optional[_Iterable[_Union[ClosedLease, _Mapping]]] = ...) -> None: ...
