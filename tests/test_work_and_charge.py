"""Work and charge agree: what the filter reserves and meters, and what token-quota charges for its line in the usage
log, for every combination of engine, form of the answer, number of answers and prompts, limit, and moment at which the
client leaves.
"""

from itertools import product

import pytest

from arks.contracts.usage import UsageSource
from arks.endpoint_router.testing.dialects import DIALECTS, PROMPT, Work, delivered
from arks.endpoint_router.testing.filter import RESERVED_PROMPT, Meter, read
from arks.token_quota.domain.batch import SOURCES
from arks.token_quota.domain.charge import usage_record
from arks.token_quota.domain.estimate import estimate
from arks.token_quota.domain.tabbed_lines import read_end

TOKENS = 5
"""Of each answer."""
DEFAULT = 512
"""Reserved for each answer without a limit."""
LIMITS: dict[str, dict[str, int]] = {
    "given": {"max_tokens": TOKENS},
    "the larger of two": {"max_tokens": 1, "max_completion_tokens": TOKENS},
    "zero": {"max_tokens": 0},
    "zero and given": {"max_completion_tokens": 0, "max_tokens": TOKENS},
    "absent": {},
}
HANG_UPS = ("never", "before an engine has it", "before the answer", "after a part", "before the usage")
WORKS = [
    Work(dialect, is_chat, stream, copies, prompts, TOKENS)
    for dialect, is_chat, stream, copies, prompts in product(DIALECTS, (True, False), (True, False), (1, 3), (1, 3))
    if not (is_chat and prompts > 1)
]
GRANT = f"team/qwen/tom/lease0000001/{RESERVED_PROMPT}"


def name(work: Work) -> str:
    return f"{work.dialect}-{work.operation}-{'stream' if work.stream else 'json'}-n{work.copies}-prompts{work.prompts}"


def reserved(work: Work, limits: dict[str, int]) -> int:
    """Completion tokens."""
    request = read(work.body(**limits))
    assert request is not None
    return estimate(100, request.get("max_tokens"), request.get("answers"), work.operation, DEFAULT).completion_tokens


def charge(
    work: Work, completion: int, parts: list[bytes], *, engine: bool, answered: bool
) -> tuple[UsageSource, int, int]:
    """Source, prompt and completion tokens for these parts of the answer."""
    request = read(work.body())
    assert request is not None
    usage = None
    if answered:
        meter = Meter(stream=work.stream, cut=work.stream, copies=request.get("copies"))
        meter.follow(parts)
        usage = meter.usage
    columns = (
        *("2", "r1", "1795254321.123", "532", "41", "200" if answered else "0", "DC,1"),
        *("127.0.0.1:9001" if engine else "-", work.operation, "1" if work.stream else "0"),
        *(f"{GRANT}/{completion}", usage or "-", "."),
    )
    _, record = usage_record(read_end("\t".join(columns)))
    return SOURCES[record.source], record.prompt_tokens, record.completion_tokens


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("work", WORKS, ids=name)
def test_every_answer_is_reserved(work: Work, limits: str) -> None:
    is_limited = limits in {"given", "the larger of two"}
    assert work.answers * (TOKENS if is_limited else DEFAULT) == reserved(work, LIMITS[limits])


@pytest.mark.parametrize("hang_up", HANG_UPS)
@pytest.mark.parametrize("work", WORKS, ids=name)
def test_what_was_made_is_charged_and_never_less_than_delivered(work: Work, hang_up: str) -> None:
    parts, made, completion = work.parts(), work.answers * TOKENS, reserved(work, LIMITS["given"])
    if hang_up == "never":
        # The page of llama.cpp has the usage of the first prompt: for a list at least its reservation is charged.
        is_first_only = work.dialect == "llamacpp" and not work.stream and work.prompts > 1
        prompt = RESERVED_PROMPT if is_first_only else PROMPT * work.prompts
        assert (UsageSource.ENGINE, prompt, made) == charge(work, completion, parts, engine=True, answered=True)
    elif hang_up == "before an engine has it":
        assert (UsageSource.NONE, 0, 0) == charge(work, completion, [], engine=False, answered=False)
    elif hang_up == "before the answer":
        found = charge(work, completion, [], engine=True, answered=False)
        assert (UsageSource.DELIVERED, RESERVED_PROMPT, 0) == found
    elif work.stream:
        first_usage = next(at for at, part in enumerate(parts) if b'"usage":{' in part)
        cut = parts[: len(parts) // 2] if hang_up == "after a part" else parts[:first_usage]
        source, prompt, charged = charge(work, completion, cut, engine=True, answered=True)
        assert prompt in {RESERVED_PROMPT, PROMPT, PROMPT * work.prompts}
        assert delivered(cut) <= charged <= made
        assert source in {UsageSource.DELIVERED, UsageSource.ENGINE}
    else:
        cut = [parts[0][: len(parts[0]) // 2 if hang_up == "after a part" else parts[0].index(b'"usage"')]]
        found = charge(work, completion, cut, engine=True, answered=True)
        assert (UsageSource.RESERVATION, RESERVED_PROMPT, completion) == found
