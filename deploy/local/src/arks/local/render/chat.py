"""What `arks chat` prints besides answers: figures, and help on its commands. Pure."""

HELP = """\
/model [NAME]   show the models of this key, or change the model
/system [TEXT]  show or set the system prompt
/clear          forget the chat, not the system prompt
/save FILE      write the chat as JSON
/help           show this
/bye            exit, as Ctrl-D does
\"\"\"             begins and ends a prompt of several lines
Ctrl-C stops an answer; what has arrived stays in the chat."""

_FINISHES = {"stop": "", "length": "cut off at the maximum length", "content_filter": "cut off by a filter"}


def figures(
    tokens: int | None, first_seconds: float | None, seconds: float, finish_reason: str | None, *, stopped: bool
) -> str:
    """`[52 tokens, 75.1 tokens/s, first token after 0.12 s]`; what is unknown is left out.

    The speed is that of the tokens after the first, whose time is that of the prompt.
    """
    parts = [] if tokens is None else [f"{tokens:,} token{'' if tokens == 1 else 's'}"]
    if tokens is not None and first_seconds is not None and tokens > 1 and seconds > first_seconds:
        parts.append(f"{(tokens - 1) / (seconds - first_seconds):.1f} tokens/s")
    if first_seconds is not None:
        parts.append(f"first token after {first_seconds:.2f} s")
    end = "stopped" if stopped else _FINISHES.get(finish_reason or "stop", finish_reason or "")
    return f"[{', '.join([*parts, *([end] if end else [])])}]"
