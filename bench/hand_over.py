"""One prompt at a time through a prefiller and a decoder, and through an engine that does both.

For each prompt: the CPU of the engines, and the parts of the time to the first token as the engine reports them.
"""

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from arks.engine.v1.ark_pb2 import Chat, CompleteResponse, Generation, Message, Sampling
from arks.openai_proxy.adapters.engine import GrpcEngine
from bench.apart import MODEL, RunningEngine, engine, prompt
from bench.process_cost import cpu_seconds

TOKENS = 8


async def complete(target: RunningEngine, text: str) -> CompleteResponse:
    client = GrpcEngine([f"127.0.0.1:{target.port}"], timeout_seconds=600)
    await client.start()
    try:
        chat = Chat(messages=[Message(role="user", content=text)])
        sampling = Sampling(temperature=0, seed=5)
        return await client.complete(
            Generation(id="bench", model=MODEL, chat=chat, sampling=sampling, max_tokens=TOKENS, choices=1)
        )
    finally:
        await client.stop()


async def measured(target: RunningEngine, others: dict[str, RunningEngine], text: str) -> tuple[str, int, str]:
    """What is printed, the number of prompt tokens, and the answer."""
    engines = {"it": target} | others
    before = {name: cpu_seconds(each.pid) for name, each in engines.items()}
    answer = await complete(target, text)
    spent = ", ".join(f"{name} {cpu_seconds(each.pid) - before[name]:.2f} s" for name, each in engines.items())
    timing = answer.timing
    first = timing.prefill_milliseconds + timing.transfer_milliseconds + timing.first_token_milliseconds
    line = (
        f"CPU: {spent}; first token after {first / 1000:.2f} s: prefill {timing.prefill_milliseconds / 1000:.2f} s, "
        f"transfer {timing.transfer_milliseconds:.0f} ms, first token {timing.first_token_milliseconds:.0f} ms"
    )
    return line, answer.usage.prompt_tokens, answer.choices[0].text


async def hand_over(*, words: int, rounds: int) -> None:
    """`words`: about the tokens of a prompt. The first prompt of each engine is shorter, and is not counted."""
    with tempfile.TemporaryDirectory() as name:
        async with AsyncExitStack() as stack:
            directory = Path(name)
            prefiller = await stack.enter_async_context(engine(directory, "prefiller", [], slots=1))
            decoder = await stack.enter_async_context(engine(directory, "decoder", [prefiller.port], slots=1))
            both = await stack.enter_async_context(engine(directory, "both", [], slots=1))
            for target in (decoder, both):
                await complete(target, prompt(-1, 50))
            print("\nCPU is that of the whole request: prompt, hand-over and 8 tokens")
            for number in range(rounds):
                text = prompt(number, words)
                apart, tokens, answer = await measured(decoder, {"prefiller": prefiller}, text)
                alone, _, same = await measured(both, {}, text)
                print(f"prompt of {tokens} tokens, {'equal' if answer == same else 'DIFFERENT'} texts")
                print(f"  decoder with prefiller: {apart}\n  both: {alone}")
