from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ResourceEvent(_message.Message):
    __slots__ = ("kind", "namespace", "name", "generation", "phase", "reason", "message", "download", "replica", "limit")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DOWNLOAD_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    namespace: str
    name: str
    generation: int
    phase: str
    reason: str
    message: str
    download: DownloadProgress
    replica: ReplicaChange
    limit: LimitReached
    def __init__(self, kind: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ..., generation: _Optional[int] = ..., phase: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., download: _Optional[_Union[DownloadProgress, _Mapping]] = ..., replica: _Optional[_Union[ReplicaChange, _Mapping]] = ..., limit: _Optional[_Union[LimitReached, _Mapping]] = ...) -> None: ...

class DownloadProgress(_message.Message):
    __slots__ = ("done_bytes", "total_bytes", "bytes_per_second", "remaining_seconds")
    DONE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    REMAINING_SECONDS_FIELD_NUMBER: _ClassVar[int]
    done_bytes: int
    total_bytes: int
    bytes_per_second: float
    remaining_seconds: int
    def __init__(self, done_bytes: _Optional[int] = ..., total_bytes: _Optional[int] = ..., bytes_per_second: _Optional[float] = ..., remaining_seconds: _Optional[int] = ...) -> None: ...

class ReplicaChange(_message.Message):
    __slots__ = ("name", "host", "port", "state", "last_lines")
    NAME_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LAST_LINES_FIELD_NUMBER: _ClassVar[int]
    name: str
    host: str
    port: int
    state: str
    last_lines: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., host: _Optional[str] = ..., port: _Optional[int] = ..., state: _Optional[str] = ..., last_lines: _Optional[_Iterable[str]] = ...) -> None: ...

class LimitReached(_message.Message):
    __slots__ = ("rule", "limit", "used", "token", "endpoint", "quota")
    RULE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    rule: str
    limit: int
    used: int
    token: str
    endpoint: str
    quota: str
    def __init__(self, rule: _Optional[str] = ..., limit: _Optional[int] = ..., used: _Optional[int] = ..., token: _Optional[str] = ..., endpoint: _Optional[str] = ..., quota: _Optional[str] = ...) -> None: ...
