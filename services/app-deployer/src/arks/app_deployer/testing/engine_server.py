"""The engine `llamacpp` with the small model, as a server for tests."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from arks.kit.ports import free_port
from arks.kit.testing.servers import Server, serve, small_model

TOOLS_TEMPLATE = """\
{%- if tools %}{{ '<|im_start|>system\\n<tools>' }}
{%- for tool in tools %}{{ '\\n' }}{{ tool | tojson }}{% endfor -%}
{{ '\\n</tools>\\nAnswer with <tool_call>\\n{"name": <name>, "arguments": <arguments>}\\n</tool_call>' }}
{{- '<|im_end|>\\n' }}{% endif %}
{%- for message in messages %}{{ '<|im_start|>' + message.role }}
{%- if message.content %}{{ '\\n' + message.content }}{% endif %}
{%- for call in message.tool_calls or [] %}
{{- '\\n<tool_call>\\n{"name": "' }}{{ call.function.name }}
{{- '", "arguments": ' }}{{ call.function.arguments | tojson }}{{ '}\\n</tool_call>' }}{% endfor %}
{{- '<|im_end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""
"""Of chats with tools, which the small model's own template leaves out."""


@asynccontextmanager
async def engine_server(
    directory: Path,
    *,
    slots: int = 2,
    served_model: str = "smollm2",
    model: Path | None = None,
    arguments: Sequence[str] = (),
) -> AsyncIterator[Server]:
    """llama.cpp's OpenAI server as app-deployer starts it. `model`: None is the small model."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [
        *(sys.executable, "-m", "arks.app_deployer.programs.llamacpp", "--model", str(model or small_model())),
        *("--port", str(port), "--alias", served_model, "--parallel", str(slots), "--ctx-size", str(2048 * slots)),
        *arguments,
    ]
    async with serve(command, port, directory) as server:
        yield server
