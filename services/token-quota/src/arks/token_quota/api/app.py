"""The inbound edge: HTTP on loopback, for Envoy's filter (/v1/admit, /v1/leases, /v1/wait, /v1/changes, /v1/key),
clients through Envoy (/v1/models) and operators (/v1/usage).

RSGI on granian, without a framework: admission is on the path of requests, and its share of CPU is counted in
microseconds.
"""

import asyncio
import json
from collections.abc import Awaitable
from datetime import date
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qs, unquote

import structlog

from arks.contracts.gateway_token import GATEWAY_TOKEN_HEADER, OPERATOR_TOKEN_HEADER, TokenGate, bearer
from arks.kit.errors import Invalid, Unavailable
from arks.kit.tasks import cancel
from arks.kit.tracing import TRACEPARENT, NoTracer, Tracer
from arks.token_quota.api.renewals import read_calls, write_answers
from arks.token_quota.domain import answers
from arks.token_quota.domain.access import EngineTerms, Policy
from arks.token_quota.domain.answers import Rejection
from arks.token_quota.domain.count import parse_count
from arks.token_quota.domain.lease import HOLD_MILLISECONDS, MAX_DEMAND_REQUESTS, LeaseAmount
from arks.token_quota.service.admission import Admission, AdmitRequest, Granted, Held
from arks.token_quota.service.lease_changes import LeaseWatch
from arks.token_quota.service.ports.counters import CountersUnavailable
from arks.token_quota.service.ports.ledger import UsageFilter
from arks.token_quota.service.repeated_admissions import RepeatedAdmissions
from arks.token_quota.service.reports import Reports

log = structlog.get_logger(__name__)

_JSON = ("content-type", "application/json")
_FOR_GATEWAYS = frozenset({"/v1/admit", "/v1/leases", "/v1/wait", "/v1/changes", "/v1/key"})
_OPERATIONS = frozenset({"chat.completions", "completions", "embeddings"})
_REQUEST_ID = "x-arks-request-id"
_GATEWAY = "x-arks-gateway"
BEFORE_LEASES = "0.1.0"
"""Name of all gateways of that release, which send none."""
WATCHED_CALLER = "watched caller"
"""Name of the tasks that end when a caller is gone."""
_WATCH_AFTER_SECONDS = 0.01
_MODELS = "/v1/models"
_VALID = ("x-arks-valid-milliseconds", str(HOLD_MILLISECONDS))
_NAMESPACE = "namespace"
"""A filter of an older version cannot end the leases of a namespace."""
_NO_DEMAND = LeaseAmount()
_PASS, _REFUSE = ("x-arks-outage", "pass"), ("x-arks-outage", "refuse")
_USAGE_PARAMETERS = frozenset({"namespace", "token", "endpoint", "quota", "since", "until", "group_by"})


class Headers(Protocol):
    """Headers of a request, by names in lower case."""

    def get(self, key: str, default: Any = None) -> Any: ...


class Scope(Protocol):
    """A request in granian's form, without its body."""

    @property
    def proto(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query_string(self) -> str: ...
    @property
    def headers(self) -> Headers: ...


class HTTPProtocol(Protocol):
    """The response to a request in granian's form. A call returns the request's body."""

    def __call__(self) -> Awaitable[bytes]: ...
    def client_disconnect(self) -> Awaitable[None]: ...
    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None: ...
    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...


class Gates(NamedTuple):
    """Who may call: gateways, and operators who query usage. Clients show their own keys."""

    gateway: TokenGate = TokenGate()
    operator: TokenGate = TokenGate()


class Caller:
    """The gateway's worker that waits for an answer, which ends the connection if its client has left. It is watched
    only after a while: nearly all answers are sent by then, and a task a call costs more than they do.
    """

    def __init__(self, answer: HTTPProtocol) -> None:
        self.answer = answer
        self._gone: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(_WATCH_AFTER_SECONDS, self.watch)

    @property
    def is_gone(self) -> bool:
        return self._gone is not None and self._gone.done()

    def watch(self) -> asyncio.Task[None]:
        """Return the task that ends when the caller is gone."""
        if self._gone is None:
            self._gone = asyncio.create_task(self._disconnected(), name=WATCHED_CALLER)
        return self._gone

    async def end(self) -> None:
        self._timer.cancel()
        if self._gone is not None:
            await cancel(self._gone)

    async def _disconnected(self) -> None:
        await self.answer.client_disconnect()


class Api:
    def __init__(
        self,
        admission: Admission,
        leases: LeaseWatch,
        reports: Reports,
        gates: Gates | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._admission = admission
        self._repeats = RepeatedAdmissions(admission.admit)
        self._leases = leases
        self._reports = reports
        self._gates = gates or Gates()
        self._tracer = tracer or NoTracer()

    async def __rsgi__(self, scope: Scope, answer: HTTPProtocol) -> None:
        if scope.proto != "http":
            return
        try:
            if scope.path in _FOR_GATEWAYS and not self._gates.gateway.accepts(scope.headers.get(GATEWAY_TOKEN_HEADER)):
                answer.response_empty(401, [])  # not an error of the client, so the filter does not pass it on
            elif scope.path == "/v1/admit":
                await self._admit(scope, answer)
            elif scope.path == "/v1/leases":
                await self._renew(scope, answer)
            elif scope.path == "/v1/wait":
                await self._wait(scope, answer)
            elif scope.path == "/v1/changes":
                await self._changes(scope, answer)
            elif scope.path == "/v1/key":
                self._key(scope, answer)
            elif scope.path == _MODELS or scope.path.startswith(_MODELS + "/"):
                self._models(scope, answer)
            elif scope.path == "/v1/usage":
                await self._usage(scope, answer)
            else:
                _reject(answer, answers.not_found(scope.path))
        except Exception:  # the outermost loop of every request: a fault must not end the server
            log.exception("request failed", path=scope.path)
            _reject(answer, Rejection(500, "internal_error", "Something went wrong on our side.", type="server_error"))

    # --- the gateway's filter

    async def _admit(self, scope: Scope, answer: HTTPProtocol) -> None:
        if scope.method != "POST":
            return _reject(answer, answers.method_not_allowed("POST"))
        if scope.headers.get(_GATEWAY) is None:
            return await self._admit_before_leases(scope.headers, answer)
        request = read_admit_request(scope.headers)
        if isinstance(request, Rejection):
            return _reject_held(answer, request)
        caller = Caller(answer)
        try:
            if self._tracer.enabled:
                decided = await self._decide_traced(request, scope.headers)
            else:
                decided = await self._decide(request, scope.headers)
            await self._answer_admission(caller, request, decided, scope.headers)
        finally:
            await caller.end()

    async def _admit_before_leases(self, headers: Headers, answer: HTTPProtocol) -> None:
        """Answer a gateway of 0.1.0, which runs beside this version during an upgrade. It reports no leases, so that of
        the request returns at once, and the usage record charges the request as a whole.
        """
        request = read_admit_request(headers, gateway=BEFORE_LEASES)
        if isinstance(request, Rejection):
            return _reject_held(answer, request)
        decided = await self._admission.admit(request._replace(has_waited=True))  # it cannot wait for an engine
        if not isinstance(decided, Granted):
            return _answer_admission(answer, decided)
        await self._admission.take_back(decided)
        grant = decided.grant
        cluster = ("x-arks-cluster", f"{grant.namespace}/{grant.endpoint}")
        return answer.response_empty(200, [cluster, ("x-arks-grant", grant.before_leases()), *decided.headers])

    async def _answer_admission(
        self, caller: "Caller", request: AdmitRequest, decided: Granted | Held | Rejection, headers: Headers
    ) -> None:
        """Send the decision. The lease of a grant that is not sent returns at once."""
        if not caller.is_gone:
            return _answer_admission(caller.answer, decided)
        return await self._take_back(request, decided, headers)

    async def _take_back(
        self, request: AdmitRequest | Rejection, decided: Granted | Held | Rejection, headers: Headers
    ) -> None:
        """Return the lease of a grant that is not sent, unless another caller has got it."""
        if isinstance(request, Rejection) or not isinstance(decided, Granted):
            return
        if self._repeats.drop(headers.get(_REQUEST_ID), request):
            await self._admission.take_back(decided)

    async def _renew(self, scope: Scope, answer: HTTPProtocol) -> None:
        """Decide on several calls of admission that no request waits for."""
        if scope.method != "POST":
            return _reject(answer, answers.method_not_allowed("POST"))
        calls = read_calls(await answer())
        if calls is None:
            return _reject(answer, answers.not_understood("The body is no list of calls."))
        requests = [read_admit_request(headers) for headers in calls]
        caller = Caller(answer)
        try:
            decided = await asyncio.gather(*map(self._decide_read, requests, calls))
            if not caller.is_gone:
                return answer.response_bytes(200, [], write_answers([_status_and_headers(each) for each in decided]))
            for request, each, headers in zip(requests, decided, calls, strict=True):
                await self._take_back(request, each, headers)
        finally:
            await caller.end()

    async def _decide_read(self, request: AdmitRequest | Rejection, headers: Headers) -> Granted | Held | Rejection:
        return request if isinstance(request, Rejection) else await self._decide(request, headers)

    async def _decide(self, request: AdmitRequest, headers: Headers) -> Granted | Held | Rejection:
        return await self._repeats.admit(headers.get(_REQUEST_ID), request)

    async def _wait(self, scope: Scope, answer: HTTPProtocol) -> None:
        """Answer once the request's turn has come. A client that hangs up leaves the queue."""
        if scope.method != "POST":
            return _reject(answer, answers.method_not_allowed("POST"))
        request = read_admit_request(scope.headers)
        if isinstance(request, Rejection):
            return _reject_held(answer, request)
        caller = Caller(answer)
        turn = asyncio.create_task(self._admission.wait(request))
        try:
            await asyncio.wait({turn, caller.watch()}, return_when=asyncio.FIRST_COMPLETED)
            if turn.done():
                waited = request._replace(has_waited=True)
                decided = turn.result() or await self._decide(waited, scope.headers)
                await self._answer_admission(caller, waited, decided, scope.headers)
        finally:
            await asyncio.gather(cancel(turn), caller.end())

    async def _decide_traced(self, request: AdmitRequest, headers: Headers) -> Granted | Held | Rejection:
        with self._tracer.span("admit", parent=headers.get(TRACEPARENT)) as span:
            decided = await self._decide(request, headers)
            if isinstance(decided, Rejection):
                span.set("arks.rejection", decided.reason or decided.code)
            elif isinstance(decided, Granted):
                span.set("arks.namespace", decided.grant.namespace)
                span.set("arks.token", decided.grant.token)
                span.set("gen_ai.request.model", decided.grant.endpoint)
            return decided

    def _key(self, scope: Scope, answer: HTTPProtocol) -> None:
        if scope.method != "POST":
            return _reject(answer, answers.method_not_allowed("POST"))
        policy = self._admission.policy(scope.headers.get("authorization"))
        if isinstance(policy, Rejection):
            return _reject_held(answer, policy)
        return answer.response_empty(204, [_VALID])

    async def _changes(self, scope: Scope, answer: HTTPProtocol) -> None:
        if scope.method != "POST":
            return _reject(answer, answers.method_not_allowed("POST"))
        milliseconds = _count(scope.headers.get("x-arks-since"))
        if milliseconds is None:
            return _reject(answer, answers.not_understood("x-arks-since has no number."))
        by_namespace = scope.headers.get("x-arks-scopes") == _NAMESPACE
        try:
            life, ended = await self._leases.since(
                scope.headers.get("x-arks-life", ""), milliseconds, by_namespace=by_namespace
            )
        except CountersUnavailable:
            return answer.response_empty(503, [])
        return answer.response_empty(200, [("x-arks-life", life), ("x-arks-ended", " ".join(ended) or "-")])

    # --- /v1/models

    def _models(self, scope: Scope, answer: HTTPProtocol) -> None:
        if scope.method not in {"GET", "HEAD"}:  # the server sends no body for HEAD
            return _reject(answer, answers.method_not_allowed("GET"))
        policy = self._admission.policy(scope.headers.get("authorization"))
        if isinstance(policy, Rejection):
            return _reject(answer, policy)
        name = unquote(scope.path[len(_MODELS) + 1 :])
        if not name:
            listed = [self._model(policy, model) for model in self._admission.models(policy)]
            return _json(answer, {"object": "list", "data": listed})
        rejection = self._admission.reject_listing(policy, name)
        return _reject(answer, rejection) if rejection is not None else _json(answer, self._model(policy, name))

    def _model(self, policy: Policy, name: str) -> dict[str, Any]:
        created_seconds = self._admission.model_created_seconds(policy, name)
        return {"id": name, "object": "model", "created": created_seconds, "owned_by": policy.namespace}

    # --- /v1/usage

    async def _usage(self, scope: Scope, answer: HTTPProtocol) -> None:
        if scope.method != "GET":
            return _reject(answer, answers.method_not_allowed("GET"))
        given = scope.headers.get(OPERATOR_TOKEN_HEADER) or bearer(scope.headers.get("authorization"))
        if not self._gates.operator.accepts(given):
            return _reject(answer, Rejection(401, "invalid_token", "The operator's token is needed."))
        try:
            usage_filter, groups = read_usage_query(scope.query_string)
            return _json(answer, await self._reports.usage(usage_filter, groups))
        except Invalid as error:
            return _reject(answer, Rejection(400, "invalid_value", str(error)))
        except Unavailable as error:
            retry = (("retry-after", "1"),)
            return _reject(answer, Rejection(503, "unavailable", str(error), type="server_error", headers=retry))


def read_admit_request(headers: Headers, gateway: str = "") -> AdmitRequest | Rejection:
    """The headers of the gateway's filter, fixed in docs/architecture/admission.md. `gateway`: the name of a gateway
    that sends none.
    """
    gateway, operation = gateway or headers.get(_GATEWAY, ""), headers.get("x-arks-operation")
    if not gateway or operation not in _OPERATIONS:
        return answers.not_understood("x-arks-gateway and x-arks-operation are required.")
    text_bytes, demand = _count(headers.get("x-arks-body-bytes")), read_demand(headers.get("x-arks-demand"))
    if text_bytes is None or demand is None:
        return answers.not_understood("x-arks-body-bytes or x-arks-demand has no numbers.")
    max_tokens, n = headers.get("x-arks-max-tokens"), headers.get("x-arks-n")
    max_completion, choices = _count(max_tokens), _count(n)
    if max_tokens is not None and max_completion is None:
        return answers.invalid_number("max_tokens", "must be a whole number, 0 or more")
    if n is not None and not choices:
        return answers.invalid_number("n", "must be a whole number, 1 or more")
    model, uses = unquote(headers.get("x-arks-model") or ""), headers.get("x-arks-uses")
    return AdmitRequest(
        headers.get("authorization"),
        gateway,
        model,
        operation,
        text_bytes,
        max_completion,
        choices,
        demand,
        frozenset(uses.split(",")) if uses else frozenset(),
        _count(headers.get("x-arks-remaining")),
        _count(headers.get("x-arks-prompt-tokens")),
    )


def read_demand(text: str | None) -> LeaseAmount | None:
    """`<requests>,<prompt tokens>,<completion tokens>`, at most MAX_DEMAND_REQUESTS; None if it is not that."""
    if text is None or text == "0,0,0":
        return _NO_DEMAND
    parts = text.split(",")
    if len(parts) != len(LeaseAmount._fields):
        return None
    requests, prompt, completion = parse_count(parts[0]), parse_count(parts[1]), parse_count(parts[2])
    if requests is None or prompt is None or completion is None:
        return None
    return LeaseAmount(min(requests, MAX_DEMAND_REQUESTS), prompt, completion)


def grant_headers(granted: Granted) -> list[tuple[str, str]]:
    grant, (requests, prompt, completion) = granted.grant, granted.extra
    lease = f"{requests},{prompt},{completion},{granted.milliseconds},{granted.default_completion_tokens}"
    begins = [("x-arks-begins", str(granted.begins_in_milliseconds))] if granted.begins_in_milliseconds else []
    return [
        *begins,
        ("x-arks-cluster", f"{grant.namespace}/{grant.endpoint}"),
        ("x-arks-grant", str(grant)),
        ("x-arks-lease", lease),
        _PASS if granted.passes_outage else _REFUSE,
        *granted.headers,
        *engine_headers(granted.engine),
    ]


def engine_headers(engine: EngineTerms) -> list[tuple[str, str]]:
    """Return none for an endpoint without affinity whose engines keep everything and know the client's name."""
    values = (
        ("x-arks-engine-model", engine.model),
        ("x-arks-unsupported", ",".join(engine.unsupported)),
        ("x-arks-affinity", engine.affinity),
    )
    return [(name, value) for name, value in values if value]


def _count(text: str | None) -> int | None:
    return None if text is None else parse_count(text)


def read_usage_query(query: str) -> tuple[UsageFilter, list[str]]:
    """`namespace`, `token`, `endpoint`, `quota`, `since` and `until` (days, both included), `group_by` (comma-
    separated). Raises Invalid.
    """
    parameters = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
    unknown = sorted(set(parameters) - _USAGE_PARAMETERS)
    if unknown:
        raise Invalid(f"unknown parameter {unknown[0]}: use {', '.join(sorted(_USAGE_PARAMETERS))}")
    groups = [group for group in parameters.get("group_by", "namespace,token,endpoint").split(",") if group]
    usage_filter = UsageFilter(
        namespace=parameters.get("namespace") or None,
        token=parameters.get("token") or None,
        endpoint=parameters.get("endpoint") or None,
        quota=parameters.get("quota") or None,
        first_day=_day(parameters, "since"),
        last_day=_day(parameters, "until"),
    )
    return usage_filter, groups


def _day(parameters: dict[str, str], name: str) -> int | None:
    if not parameters.get(name):
        return None
    try:
        return (date.fromisoformat(parameters[name]) - date(1970, 1, 1)).days
    except ValueError:
        raise Invalid(f"{name} has to be a day as 2026-01-31") from None


def _json(answer: HTTPProtocol, content: object) -> None:
    answer.response_bytes(200, [_JSON], json.dumps(content, ensure_ascii=False).encode())


def _reject(answer: HTTPProtocol, rejection: Rejection) -> None:
    answer.response_bytes(rejection.status, [_JSON, *rejection.headers], rejection.body)


def _answer_admission(answer: HTTPProtocol, decided: Granted | Held | Rejection) -> None:
    if isinstance(decided, Rejection):
        return _reject_held(answer, decided)
    if isinstance(decided, Held):
        return answer.response_empty(202, [("x-arks-wait", str(decided.milliseconds))])
    return answer.response_empty(200, grant_headers(decided))


def _status_and_headers(decided: Granted | Held | Rejection) -> tuple[int, list[tuple[str, str]]]:
    """Only a grant is of use to a renewal."""
    if isinstance(decided, Granted):
        return 200, grant_headers(decided)
    return (decided.status if isinstance(decided, Rejection) else 202), []


def _reject_held(answer: HTTPProtocol, rejection: Rejection) -> None:
    """For the gateway's filter, which repeats the answer for a while. Clients never get the header."""
    headers = [_JSON, *rejection.headers]
    if rejection.hold is not None:
        headers.append(("x-arks-refusal", f"{rejection.hold.milliseconds},{rejection.hold.scope}"))
        if rejection.hold.window_milliseconds:
            headers.append(("x-arks-window", str(rejection.hold.window_milliseconds)))
    answer.response_bytes(rejection.status, headers, rejection.body)
