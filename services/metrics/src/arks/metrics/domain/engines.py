"""Which metric of which engine means what, over their versions, and whether its number can be true.

Names were renamed, deprecated and removed: each signal lists them newest first, and the first that a page has counts,
so a page that still carries the old beside the new is not counted twice. A missing metric is absent (None), never 0; a
number that cannot be true is a problem, never idle.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from arks.metrics.domain.page import Layout, PageReader, Sample

Labels = Mapping[str, str]
MOST_REQUESTS = 1e6
"""More than this at once is no count of requests."""
MOST_USAGE = 1.5
"""Up to it a usage is taken as full (rounding, pages in two pools); beyond it is no share of 1."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The values of one page. With a `problem` all values are None."""

    running_requests: float | None = None
    waiting_requests: float | None = None
    kv_cache_usage_ratio: float | None = None
    prompt_tokens: float | None = None
    """Counter, as are the two below: only their change means something."""
    generation_tokens: float | None = None
    finished_requests: float | None = None
    steps: float | None = None
    """Counter of the engine's own steps: each computes something."""
    problem: str = ""
    digits: int | None = None
    """Significant digits with which the page prints counters; None: all."""
    tokens_at_end: bool = False
    """Whether generated tokens count when their request ends; until then each step makes one for each that runs."""

    @property
    def busy(self) -> bool:
        return bool(self.running_requests or self.waiting_requests)


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    keep: Callable[[Labels], bool] | None = None
    """Samples that count; None: all."""
    part: str = ""
    """Label that identifies a part of an engine; samples with the same value repeat the same number."""


@dataclass(frozen=True, slots=True)
class Formula:
    """One way to get a signal: there when `metric` is."""

    metric: Metric
    plus: tuple[Metric, ...] = ()
    minus: tuple[Metric, ...] = ()
    needs: Metric | None = None
    """A metric that has to be on the page too."""
    most: Metric | None = None
    """A metric that the value does not exceed, if it is on the page."""
    biggest: bool = False
    """Of several parts (data parallel engines) take the biggest, not the sum."""


Signal = tuple[Formula, ...]
"""Ways to get it, newest first."""


@dataclass(frozen=True, slots=True)
class Engine:
    running_requests: Signal
    waiting_requests: Signal
    kv_cache_usage_ratio: Signal
    prompt_tokens: Signal
    generation_tokens: Signal
    finished_requests: Signal
    steps: Signal = ()
    hint: str = ""
    """What to do when the page has none of these."""
    before_first_request: str = ""
    """A metric's name, or how names begin, on a page that has the signals only from the first request on."""
    asleep: Metric | None = None
    """Not 0 while the engine has put its weights away: it has no requests, and should get none."""
    shows_movement: bool = False
    """Whether something on its page moves while it computes, also during a long prompt."""
    holds_gauges: bool = False
    """Whether running requests may stay at their last value for a while after the last one has ended."""
    digits: int | None = None
    """Significant digits with which it prints counters; None: all."""
    tokens_at_end: bool = False
    """As of a snapshot."""
    reserves_slots: bool = False
    """Whether it reserves memory for each slot; otherwise a full KV cache may allow fewer requests than configured."""
    versions: tuple[tuple[str, str], ...] = ()
    """(a metric, what a page with it looks like); the first metric that a page has counts."""


_NO_SIGNALS = {
    "hint",
    "before_first_request",
    "shows_movement",
    "asleep",
    "holds_gauges",
    "digits",
    "tokens_at_end",
    "reserves_slots",
    "versions",
}
_COUNTS = {"running_requests", "waiting_requests"}
"""Signals without which a reading is none. Another one that cannot be true is absent."""
_SIGNAL_NAMES = {
    "running_requests": "running requests",
    "waiting_requests": "waiting requests",
    "kv_cache_usage_ratio": "KV cache use",
    "prompt_tokens": "prompt tokens",
    "generation_tokens": "generated tokens",
    "finished_requests": "finished requests",
}


class EngineReader:
    """Reads the pages of one engine."""

    def __init__(self, runtime: str, engine: Engine) -> None:
        self._runtime = runtime
        self._hint = engine.hint
        self._asleep = engine.asleep
        self.shows_movement = engine.shows_movement
        self.holds_gauges = engine.holds_gauges
        self.reserves_slots = engine.reserves_slots
        self._digits = engine.digits
        self._tokens_at_end = engine.tokens_at_end
        self._versions = [(f"\n{metric}".encode(), version) for metric, version in engine.versions]
        self._signals: dict[str, Signal] = {
            field.name: getattr(engine, field.name) for field in fields(engine) if field.name not in _NO_SIGNALS
        }
        counts = (engine.running_requests, engine.waiting_requests)
        names = _names(counts) | ({engine.before_first_request} if engine.before_first_request else set())
        self._names_before_first_request = [name.encode() for name in names]
        asleep = {engine.asleep.name} if engine.asleep is not None else set()
        self._page_reader = PageReader(_names(self._signals.values()) | asleep)

    def read(self, page: bytes, layout: Layout | None = None) -> Snapshot:
        samples = self._page_reader.samples(page, layout)
        if self._asleep is not None and any(_parts(self._asleep, samples.get(self._asleep.name, ()))):
            return Snapshot(problem=f"the engine sleeps ({self._asleep.name})")
        values: dict[str, float | None] = {}
        for signal, formulas in self._signals.items():
            value, problem = _value(formulas, samples, _limit(signal))
            if problem and signal in _COUNTS:
                return Snapshot(problem=problem)
            values[signal] = value
        if values["running_requests"] is None and values["waiting_requests"] is None:
            if any(name in page for name in self._names_before_first_request):
                return Snapshot(problem="its metrics have no values yet: it has had no request")
            hint = f"; {self._hint}" if self._hint else ""
            return Snapshot(problem=f"the page ({len(page)} bytes) has no metric known of {self._runtime}{hint}")
        return Snapshot(problem="", digits=self._digits, tokens_at_end=self._tokens_at_end, **values)

    def version(self, page: bytes) -> str:
        """Return the versions of the engine that print such a page, for users; empty if they are unknown."""
        text = b"\n" + page
        return next((version for metric, version in self._versions if metric in text), "")


def missing(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the signals that a page lacks, for users."""
    return tuple(text for name, text in _SIGNAL_NAMES.items() if getattr(snapshot, name) is None)


def reader_of(runtime: str) -> EngineReader | None:
    """None for a runtime whose metrics we do not know."""
    return _READERS.get(runtime)


def _limit(signal: str) -> float:
    if signal == "kv_cache_usage_ratio":
        return MOST_USAGE
    return MOST_REQUESTS if signal in _COUNTS else math.inf


def _value(formulas: Signal, samples: Mapping[str, Sequence[Sample]], limit: float) -> tuple[float | None, str]:
    """The signal's value (None: absent) and what is wrong with it."""
    for formula in formulas:
        if formula.metric.name in samples and (formula.needs is None or formula.needs.name in samples):
            value, problem = _apply(formula, samples, limit)
            if value is not None or problem:
                return value, problem
    return None, ""


def _apply(formula: Formula, samples: Mapping[str, Sequence[Sample]], limit: float) -> tuple[float | None, str]:
    """As `_value`, of one formula."""
    value, problem = _sum(formula, samples)
    if value is None:
        return None, problem
    if formula.most is not None and formula.most.name in samples:
        value = min(value, math.fsum(part or 0.0 for part in _parts(formula.most, samples[formula.most.name])))
    if value > limit:
        return None, f"{formula.metric.name} is {value:g}, which cannot be"
    if limit == MOST_USAGE:
        value = min(value, 1.0)
    return max(0.0, value), ""


def _sum(formula: Formula, samples: Mapping[str, Sequence[Sample]]) -> tuple[float | None, str]:
    """The formula's metrics together: None if the page has none of them, or one that counts nothing, which is the
    problem.
    """
    value: float | None = None
    for sign, metrics in ((1, (formula.metric, *formula.plus)), (-1, formula.minus)):
        for metric in metrics:
            parts = _parts(metric, samples.get(metric.name, ()))
            numbers = [number for number in parts if number is not None and 0 <= number < math.inf]
            if len(numbers) < len(parts):
                wrong = next(number for number in parts if number not in numbers)
                return None, f"{metric.name} is {'not a number' if wrong is None else wrong}"
            if numbers:
                value = (value or 0.0) + sign * (max(numbers) if formula.biggest else sum(numbers))
    return value, ""


def _parts(metric: Metric, samples: Sequence[Sample]) -> list[float | None]:
    """One number for each part of the engine. A part with several samples counts with the biggest.

    Samples with equal labels are one part: Dynamo's worker prints its engine's page twice if PROMETHEUS_MULTIPROC_DIR
    is set before it starts.
    """
    parts: dict[object, float | None] = {}
    for sample in samples:
        part: object = sample.raw_labels
        if metric.keep is not None or metric.part:
            labels = sample.labels()
            if metric.keep is not None and not metric.keep(labels):
                continue
            part = labels.get(metric.part, "") if metric.part else part
        seen = parts.get(part, 0.0)
        if sample.value is None or math.isnan(sample.value) or sample.value < 0:
            parts[part] = sample.value
        elif seen is not None and seen >= 0:
            parts[part] = max(seen, sample.value)
    return list(parts.values())


def _names(signals: Iterable[Signal]) -> set[str]:
    return {
        metric.name
        for formulas in signals
        for formula in formulas
        for metric in (formula.metric, *formula.plus, *formula.minus, *filter(None, (formula.needs, formula.most)))
    }


def _one_of(*names: str, biggest: bool = False, keep: Callable[[Labels], bool] | None = None, part: str = "") -> Signal:
    return tuple(Formula(Metric(name, keep, part), biggest=biggest) for name in names)


# --- vLLM


def _ended_well(labels: Labels) -> bool:
    """An engine that fails every request at once, or so slow that clients give up, must not look fast."""
    return labels.get("finished_reason") not in {"error", "abort"}


def _weights_away(labels: Labels) -> bool:
    return labels.get("sleep_state") in {"weights_offloaded", "discard_all"}


_VLLM = Engine(
    running_requests=_one_of("vllm:num_requests_running"),
    waiting_requests=_one_of("vllm:num_requests_waiting"),
    # kv_cache_usage_perc since 0.9; gpu_cache_usage_perc was removed in about 0.12. Both are 0 to 1.
    kv_cache_usage_ratio=_one_of("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", biggest=True),
    prompt_tokens=_one_of("vllm:prompt_tokens_total"),
    generation_tokens=_one_of("vllm:generation_tokens_total"),
    finished_requests=_one_of("vllm:request_success_total", keep=_ended_well),
    steps=_one_of("vllm:iteration_tokens_total_count"),
    asleep=Metric("vllm:engine_sleep_state", _weights_away),
    shows_movement=True,
    versions=(
        # Names that were removed in about 0.12 come first: pages from 0.9 on have both.
        ("vllm:num_requests_swapped", "vLLM 0.6 to 0.8"),
        ("vllm:cpu_cache_usage_perc", "vLLM 0.6 to 0.8"),
        ("vllm:num_requests_waiting_by_reason", "vLLM of March 2026 or newer"),
        ("vllm:gpu_cache_usage_perc", "vLLM 0.8 to 0.11"),
        ("vllm:time_per_output_token_seconds", "vLLM 0.9 to 0.12"),
        ("vllm:kv_cache_usage_perc", "vLLM 0.12 or newer"),
        ("vllm:num_requests_running", "vLLM"),
    ),
)

# --- SGLang: with --enable-metrics-for-all-schedulers every rank of a data parallel engine repeats its numbers; with
# priority scheduling there is one more series a priority beside the total.


def _all_priorities(labels: Labels) -> bool:
    return not labels.get("priority")


def _sglang_gauge(name: str) -> Metric:
    return Metric(f"sglang:{name}", _all_priorities, "dp_rank")


_SGLANG = Engine(
    running_requests=(
        Formula(_sglang_gauge("num_running_reqs"), plus=(_sglang_gauge("num_prefill_inflight_queue_reqs"),)),
    ),
    waiting_requests=(
        Formula(
            _sglang_gauge("num_queue_reqs"),
            plus=tuple(
                _sglang_gauge(name)
                for name in (
                    "num_grammar_queue_reqs",
                    "num_prefill_prealloc_queue_reqs",
                    "num_prefill_bootstrap_queue_reqs",
                    "num_decode_prealloc_queue_reqs",
                    "num_decode_transfer_queue_reqs",
                )
            ),
        ),
    ),
    kv_cache_usage_ratio=(Formula(_sglang_gauge("token_usage"), biggest=True),),
    prompt_tokens=_one_of("sglang:prompt_tokens_total"),
    generation_tokens=_one_of("sglang:generation_tokens_total"),
    # The total has aborted requests too, but not each that waited.
    finished_requests=(
        Formula(Metric("sglang:num_requests_total"), minus=(Metric("sglang:num_aborted_requests_total"),)),
    ),
    # Tokens of a request count when it ends, but the cache fills with each step; its use as a ratio is rounded.
    steps=_one_of("sglang:num_used_tokens"),
    hint="start it with --enable-metrics",
    shows_movement=True,
    holds_gauges=True,
    versions=(
        ("sglang:num_grammar_queue_reqs", "SGLang 0.4.6 or newer"),
        ("sglang:num_running_reqs", "SGLang 0.3 or 0.4"),
    ),
)

# --- Dynamo: a worker's system port has Dynamo's own metrics and its engine's; a frontend has the sum of its workers.


def _generate_endpoint(labels: Labels) -> bool:
    return labels.get("dynamo_endpoint", "generate") == "generate"


def _before_a_worker(labels: Labels) -> bool:
    return labels.get("stage") in {"preprocess", "route", "dispatch"}


def _no_error(labels: Labels) -> bool:
    return labels.get("status") != "error"


_STAGES = Metric("dynamo_frontend_stage_requests", _before_a_worker)
_QUEUED = Metric("dynamo_frontend_queued_requests")
_DURATIONS = Metric("dynamo_component_request_duration_seconds_count", _generate_endpoint)
_CANCELLED = Metric("dynamo_component_cancellation_total", _generate_endpoint)

_DYNAMO = Engine(
    running_requests=(
        *_VLLM.running_requests,
        *_SGLANG.running_requests,
        *_one_of("trtllm_num_requests_running"),
        *_one_of("dynamo_component_inflight_requests", keep=_generate_endpoint),
        # Of a request whose prefill runs elsewhere, two stages count at once, so the older metric comes first.
        *(
            Formula(Metric(f"dynamo_frontend_{name}_requests"), minus=(_QUEUED,), needs=_QUEUED)
            for name in ("active", "inflight")
        ),
        Formula(Metric("dynamo_frontend_active_requests"), minus=(_STAGES,)),
        Formula(Metric("dynamo_frontend_inflight_requests")),
    ),
    waiting_requests=(
        *_VLLM.waiting_requests,
        *_SGLANG.waiting_requests,
        *_one_of("trtllm_num_requests_waiting"),
        Formula(_QUEUED),
        Formula(_STAGES, most=Metric("dynamo_frontend_active_requests")),
    ),
    kv_cache_usage_ratio=(
        *_VLLM.kv_cache_usage_ratio,
        *_SGLANG.kv_cache_usage_ratio,
        # Named percent, but 0 to 1; kvstats was removed in 1.0.
        *_one_of(
            "trtllm_kv_cache_utilization",
            "dynamo_component_gpu_cache_usage_percent",
            "dynamo_component_kvstats_gpu_cache_usage_percent",
            biggest=True,
        ),
    ),
    prompt_tokens=(
        *_VLLM.prompt_tokens,
        *_SGLANG.prompt_tokens,
        *_one_of("trtllm_prompt_tokens_total"),
        *_one_of("dynamo_frontend_input_sequence_tokens_sum"),
    ),
    generation_tokens=(
        *_VLLM.generation_tokens,
        *_SGLANG.generation_tokens,
        *_one_of("trtllm_generation_tokens_total"),
        *_one_of("dynamo_frontend_output_tokens_total"),
    ),
    finished_requests=(
        *_VLLM.finished_requests,
        *_SGLANG.finished_requests,
        *_one_of("trtllm_request_success_total", keep=_ended_well),
        # Of a worker the count of durations, which has those too whose client has gone: its requests_total rises when a
        # request comes. In 1.0 only errors show some of these.
        Formula(_DURATIONS, minus=(_CANCELLED,), needs=_CANCELLED),
        Formula(_DURATIONS, minus=(Metric("dynamo_component_errors_total", _generate_endpoint),)),
        *_one_of("dynamo_frontend_requests_total", keep=_no_error),
    ),
    steps=_SGLANG.steps,
    asleep=_VLLM.asleep,
    holds_gauges=True,
    before_first_request="dynamo_frontend_",
    versions=(
        ("dynamo_frontend_stage_requests", "Dynamo 1.2 or newer, frontend"),
        ("dynamo_frontend_inflight_requests", "Dynamo before 1.2, frontend"),
        ("dynamo_frontend_", "Dynamo, frontend"),
        ("dynamo_component_kvstats_", "Dynamo 0.x, worker"),
        ("dynamo_component_", "Dynamo 1.x, worker"),
        *_VLLM.versions,
        *_SGLANG.versions,
        ("trtllm_", "TensorRT-LLM"),
    ),
    hint="name the worker's system port (DYN_SYSTEM_PORT) or the frontend",
)

# --- llama.cpp: kv_cache_usage_ratio was removed in 2025; there is no counter of finished requests. It counts each call
# of its decoder, also those for parts of a prompt (up to --batch-size tokens).
_LLAMACPP = Engine(
    running_requests=_one_of("llamacpp:requests_processing"),
    waiting_requests=_one_of("llamacpp:requests_deferred"),
    kv_cache_usage_ratio=_one_of("llamacpp:kv_cache_usage_ratio", biggest=True),
    prompt_tokens=_one_of("llamacpp:prompt_tokens_total"),
    generation_tokens=_one_of("llamacpp:tokens_predicted_total"),
    finished_requests=(),
    steps=_one_of("llamacpp:n_decode_total"),
    hint="start it with --metrics",
    shows_movement=True,
    digits=6,  # doubles through a C++ stream
    tokens_at_end=True,
    reserves_slots=True,
    versions=(
        ("llamacpp:kv_cache_usage_ratio", "llama.cpp of before May 2025"),
        ("llamacpp:requests_processing", "llama.cpp of May 2025 or newer"),
    ),
)

# --- ARK: openai-proxy's page has the numbers of its engine; they are absent while the engine is away.
_ARK = Engine(
    running_requests=_one_of("ark_engine_running_requests"),
    waiting_requests=_one_of("ark_engine_waiting_requests"),
    kv_cache_usage_ratio=(),
    prompt_tokens=_one_of("ark_engine_prompt_tokens_total"),
    generation_tokens=_one_of("ark_engine_generation_tokens_total"),
    finished_requests=_one_of("ark_engine_finished_requests_total"),
    hint="the engine behind the proxy does not answer",
    reserves_slots=True,
    versions=(("ark_engine_up", "ARK 0.1"),),
)

_ENGINES = {"vllm": _VLLM, "sglang": _SGLANG, "dynamo": _DYNAMO, "llamacpp": _LLAMACPP, "ark": _ARK}
_READERS = {runtime: EngineReader(runtime, engine) for runtime, engine in _ENGINES.items()}
