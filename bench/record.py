"""Record answers and metrics pages of a running engine as fixtures of tests.

usage: python -m bench.record URL --runtime vllm --version 0.32 [--slots 4] [--page NAME=URL]

URL: an engine with OpenAI's API, a small model (served as `tiny`) and nothing else to do. `--slots`: requests that it
works on at once; the load is twice as many, so that some wait. `--page`, repeated, where there are several pages
(Dynamo's frontend and worker): the last one shows how many requests run and wait. Written are

- services/endpoint-router/tests/recordings/RUNTIME-VERSION.json: requests (`REQUESTS`) and the engine's answers,
- services/metrics/tests/golden/RUNTIME-VERSION-[NAME-]recorded-{idle,busy,after-hang-ups}.in.txt: its pages.

`--pages-only` records no answers; `--without TITLE`, repeated, leaves out a request that would end the engine.

Identifiers and times become constants. Pages lose what describes the process and the machine, and all buckets of a
histogram but the last. All else is as the engine sent it. How soon the engine stops after a client has left is printed.
"""

import argparse
import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

ROOT: Final = Path(__file__).parents[1]
ANSWERS: Final = ROOT / "services/endpoint-router/tests/recordings"
PAGES: Final = ROOT / "services/metrics/tests/golden"
MODEL: Final = "tiny"
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
USER: Final = {"messages": [{"role": "user", "content": "a stream has events"}]}
PROMPT: Final = {"prompt": "a stream has events"}
PROMPTS: Final = {"prompt": ["a stream", "has events", "and usage"]}
TOOL: Final = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
NAMED: Final = {"type": "function", "function": {"name": "f"}}
STREAM: Final = {"stream": True}
WITH_USAGE: Final = {"stream": True, "stream_options": {"include_usage": True}}
TWO: Final = {"n": 2, "temperature": 1}
"""Engines make no two answers without chance."""
CONTINUOUS: Final = {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}
FEW: Final = {"max_tokens": 3, "temperature": 0}
LONGEST: Final = 20_000
"""Characters of an answer; a longer one (a thousand logprobs of a token) is not kept."""
BUSY: Final = {"max_tokens": 200, "ignore_eos": True}
WITHIN_SECONDS: Final = 30.0
RUNNING: Final = re.compile("vllm:num_requests_running|sglang:num_running_reqs|llamacpp:requests_processing")
WAITING: Final = re.compile(
    "vllm:num_requests_waiting|sglang:num_queue_reqs|llamacpp:requests_deferred|dynamo_frontend_queued_requests"
)
BOTH: Final = re.compile("dynamo_frontend_inflight_requests")

REQUESTS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "chat": (CHAT, USER | FEW),
    "chat, 2 answers": (CHAT, USER | FEW | TWO),
    "chat, logprobs": (CHAT, USER | FEW | {"max_tokens": 1, "logprobs": True, "top_logprobs": 1}),
    "chat, limit 0": (CHAT, USER | FEW | {"max_tokens": 0}),
    "chat, no limit": (CHAT, USER | {"temperature": 0}),
    "chat, stop": (CHAT, USER | {"max_tokens": 60, "seed": 1, "stop": ["e", "a", "t"]}),
    "chat, stream": (CHAT, USER | FEW | STREAM),
    "chat, stream, usage": (CHAT, USER | FEW | WITH_USAGE),
    "chat, stream, continuous usage": (CHAT, USER | FEW | CONTINUOUS),
    "chat, stream, usage, 2 answers": (CHAT, USER | FEW | WITH_USAGE | TWO),
    "chat, stream, continuous usage, 2 answers": (CHAT, USER | FEW | CONTINUOUS | TWO),
    "completion": (COMPLETIONS, PROMPT | FEW),
    "completion, echo": (COMPLETIONS, PROMPT | FEW | {"echo": True, "max_tokens": 1}),
    "completion, limit 0": (COMPLETIONS, PROMPT | FEW | {"max_tokens": 0}),
    "completion, no limit": (COMPLETIONS, PROMPT | {"temperature": 0}),
    "completion, logprobs": (COMPLETIONS, PROMPT | FEW | {"logprobs": 1, "max_tokens": 1}),
    "completion, list of prompts": (COMPLETIONS, PROMPTS | FEW),
    "completion, list of prompts, 2 answers": (COMPLETIONS, PROMPTS | FEW | TWO),
    "completion, list of prompts, stream, usage": (COMPLETIONS, PROMPTS | FEW | WITH_USAGE),
    "completion, list of prompts, stream, continuous usage, 2 answers": (
        COMPLETIONS, PROMPTS | FEW | CONTINUOUS | TWO),
    "completion, empty prompt, 2 answers": (COMPLETIONS, {"prompt": ""} | FEW | TWO),
    "embeddings": ("/v1/embeddings", {"input": "a"}),
    "error, too long": (CHAT, {"messages": [{"role": "user", "content": "\u4e2d\u6587" * 900}]} | FEW),
    "error, too long, completion": (COMPLETIONS, {"prompt": "\u4e2d\u6587" * 900} | FEW),
    "error, too many tokens": (CHAT, USER | {"max_tokens": 100_000}),
    "error, too long, stream": (CHAT, {"messages": [{"role": "user", "content": "\u4e2d\u6587" * 900}]} | FEW | STREAM),
    "error, temperature": (CHAT, USER | FEW | {"temperature": -1}),
    "error, top_p": (CHAT, USER | FEW | {"top_p": 7}),
    "error, n is 0": (CHAT, USER | FEW | {"n": 0}),
    "error, type": (CHAT, USER | FEW | {"n": "many"}),
    "error, type, completion": (COMPLETIONS, PROMPT | {"max_tokens": "many"}),
    "error, messages are no list": (CHAT, {"messages": "a"}),
    "error, message without a role": (CHAT, {"messages": [{"content": "a"}]}),
    "error, picture": (CHAT, {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]}),
    "error, unknown model": (CHAT, USER | FEW | {"model": "other"}),
    "error, top_logprobs": (CHAT, USER | FEW | {"logprobs": True, "top_logprobs": 1000}),
    "error, logit_bias": (CHAT, USER | FEW | {"logit_bias": {"999999": 1}}),
    "error, schema": (CHAT, USER | FEW | {"response_format": {"type": "json_schema", "json_schema": {
        "name": "a", "schema": {"type": "nope"}}}}),
    "error, path": ("/v1/nothing", {}),
    "tools, auto": (CHAT, USER | FEW | {"tools": [TOOL]}),
    "tools, required": (CHAT, USER | FEW | {"tools": [TOOL], "tool_choice": "required"}),
    "tools, named": (CHAT, USER | FEW | {"tools": [TOOL], "tool_choice": NAMED}),
    "tools, choice without tools": (CHAT, USER | FEW | {"tool_choice": "required"}),
}  # fmt: skip


def normalised(text: str) -> str:
    """Return an answer without identifiers and times."""
    text = re.sub(r"\b(chatcmpl|cmpl|embd|modelperm|chatcmpl-tool|call)-?_?[0-9a-f-]{16,}", r"\1-1", text)
    text = re.sub(r'("(?:created|created_at)": ?)[0-9]+', r"\g<1>1700000000", text)
    text = re.sub(r"\b[0-9a-f]{32}\b", "0" * 32, text)
    text = re.sub(r"\[[0-9]{2}:[0-9]{2}:[0-9]{2}\]", "[00:00:00]", text)
    text = re.sub(r'("system_fingerprint": ?)"[^"]*"', r'\1"vllm"', text)
    return re.sub(r"(/[\w.-]+)+/site-packages/", "/usr/lib/site-packages/", text)


def small(page: str) -> str:
    """Return a page without the process, the machine, and all buckets but the last of each histogram."""
    drop = re.compile(r"^(# (HELP|TYPE) )?(python_|process_|\w*:?\w*_created\b)|_bucket\{(?!.*le=\"\+Inf\")")
    return "".join(line for line in page.splitlines(keepends=True) if not drop.search(line))


class Recorder:
    def __init__(self, client: aiohttp.ClientSession, url: str, pages: dict[str, str]) -> None:
        self._client = client
        self._url = url
        self._pages = pages
        self._root = ""

    async def find_root(self) -> None:
        """Read the model's directory, which is in some texts."""
        async with self._client.get(f"{self._url}/v1/models") as response:
            self._root = (await response.json())["data"][0].get("root") or ""

    async def answer(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        method = "GET" if body is None else "POST"
        async with self._client.request(method, self._url + path, json=body) as response:
            recorded: dict[str, Any] = {"status": response.status, "type": response.content_type}
            text = normalised((await response.read()).decode())
        if "/" in self._root:
            text = text.replace(self._root, f"/models/{MODEL}")
        if response.content_type == "text/event-stream":
            return recorded | {"events": text.removesuffix("\n\n").split("\n\n")}
        return recorded | {"body": text}

    async def pages(self) -> dict[str, str]:
        return {name: await self._page(url) for name, url in self._pages.items()}

    async def _page(self, url: str) -> str:
        async with self._client.get(url) as response:
            return await response.text()

    async def waiting(self) -> tuple[float, float]:
        """Running and waiting requests on the last page."""
        running = waiting = both = 0.0
        for family in text_string_to_metric_families([*(await self.pages()).values()][-1]):
            # SGLang has one more series a priority, beside the total.
            count = sum(sample.value for sample in family.samples if not sample.labels.get("priority"))
            running += count if RUNNING.fullmatch(family.name) else 0
            waiting += count if WAITING.fullmatch(family.name) else 0
            both += count if BOTH.fullmatch(family.name) else 0
        return max(running, both - waiting), waiting

    @asynccontextmanager
    async def busy(self, requests: int, body: dict[str, Any]) -> AsyncIterator[None]:
        async def request() -> None:
            async with self._client.post(self._url + CHAT, json={"model": MODEL} | USER | body) as response:
                async for _ in response.content.iter_any():
                    pass

        tasks = [asyncio.create_task(request()) for _ in range(requests)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def until(self, running: int, waiting: int) -> dict[str, str]:
        """The first pages with so many requests."""
        deadline = time.monotonic() + WITHIN_SECONDS
        while time.monotonic() < deadline:
            if (running, waiting) == await self.waiting():
                return await self.pages()
            await asyncio.sleep(0.02)
        raise TimeoutError(f"no page with {running} running and {waiting} waiting: {await self.waiting()}")

    async def hang_up(self, slots: int, more: dict[str, Any]) -> str:
        """How soon the page is idle after all clients have left. Some engines keep their last numbers."""
        async with self.busy(2 * slots, BUSY | more):
            await self.until(slots, slots)
        stopped_at = time.monotonic()
        try:
            await self.until(0, 0)
        except TimeoutError:
            return f"not idle {WITHIN_SECONDS:.0f} s"
        return f"idle {time.monotonic() - stopped_at:.2f} s"


def write_pages(name: str, when: str, pages: dict[str, str]) -> None:
    for page_name, page in pages.items():
        (PAGES / f"{'-'.join(filter(None, (name, page_name)))}-recorded-{when}.in.txt").write_text(small(page))


async def write_answers(recorder: Recorder, name: str, without: list[str]) -> None:
    await recorder.find_root()
    recordings: dict[str, Any] = {}
    for path in ("/v1/models", "/version"):
        recordings[path] = {"path": path, **await recorder.answer(path, None)}
    for title, (path, body) in REQUESTS.items():
        if title in without:
            continue
        request = {"model": MODEL} | body
        shown = json.dumps(request, ensure_ascii=False)
        answer = await recorder.answer(path, request)
        if len(answer.get("body", "")) > LONGEST:
            print(f"{title}: {len(answer['body'])} characters, not kept")
            continue
        recordings[title] = {"path": path, "request": request if len(shown) < 1000 else None, **answer}
    ANSWERS.mkdir(exist_ok=True)
    (ANSWERS / f"{name}.json").write_text(json.dumps(recordings, indent=1, ensure_ascii=False) + "\n")


async def main(options: argparse.Namespace) -> None:
    name = f"{options.runtime}-{options.version}"
    url = options.url.rstrip("/")
    page_urls = dict(page.split("=", 1) for page in options.page) or {"": f"{url}/metrics"}
    timeout = aiohttp.ClientTimeout(total=400)
    async with aiohttp.ClientSession(
        timeout=timeout, connector=aiohttp.TCPConnector(limit=0, force_close=True)
    ) as client:
        recorder = Recorder(client, url, page_urls)
        write_pages(name, "idle", await recorder.pages())
        if not options.pages_only:
            await write_answers(recorder, name, options.without)
        async with recorder.busy(2 * options.slots, BUSY | STREAM):
            write_pages(name, "busy", await recorder.until(options.slots, options.slots))
        for form, more in (("streams", STREAM), ("answers in JSON", {})):
            print(f"{await recorder.hang_up(options.slots, more)} after the clients of {form} had left")
        write_pages(name, "after-hang-ups", await recorder.pages())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--runtime", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--page", action="append", default=[], metavar="NAME=URL")
    parser.add_argument("--pages-only", action="store_true")
    parser.add_argument("--without", action="append", default=[], metavar="TITLE")
    asyncio.run(main(parser.parse_args()))
