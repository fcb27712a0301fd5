"""Headers of rate limits, as OpenAI writes them and its clients read them."""

from arks.token_quota.domain.limits import Rates, RateUse, Remainder, remaining_requests, remaining_tokens

Headers = tuple[tuple[str, str], ...]


def rate_limit_headers(rates: Rates, use: RateUse, now_seconds: float) -> list[tuple[str, str]]:
    """x-ratelimit-{limit,remaining,reset}-{requests,tokens}, for the limits that exist."""
    headers: list[tuple[str, str]] = []
    if not rates.limited:
        return headers
    for kind, remainder in (
        ("requests", remaining_requests(rates, use, now_seconds)),
        ("tokens", remaining_tokens(rates, use, now_seconds)),
    ):
        if remainder is not None:
            headers.extend(_remainder_headers(kind, remainder))
    return headers


def _remainder_headers(kind: str, remainder: Remainder) -> tuple[tuple[str, str], ...]:
    return (
        (f"x-ratelimit-limit-{kind}", str(remainder.limit)),
        (f"x-ratelimit-remaining-{kind}", str(remainder.remaining)),
        (f"x-ratelimit-reset-{kind}", duration_text(remainder.reset_seconds)),
    )


def duration_text(seconds: int) -> str:
    """A time until a reset as OpenAI writes it: 59s, 6m0s, 23h59m59s."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
