"""For the command `schemathesis`: leaves out bodies that break one of the two rules that JSON Schema cannot express."""

from typing import Any

import schemathesis


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    body = case.body
    return not isinstance(body, dict) or (_best_of_is_n(body) and _chosen_tool_exists(body))


def _best_of_is_n(body: dict[str, Any]) -> bool:
    return body.get("best_of") is None or body["best_of"] == (body.get("n") or 1)


def _chosen_tool_exists(body: dict[str, Any]) -> bool:
    choice, tools = body.get("tool_choice"), body.get("tools")
    if not isinstance(choice, dict) or not isinstance(tools, list):
        return True
    return any(
        isinstance(tool, dict) and tool.get("function", {}).get("name") == choice.get("function", {}).get("name")
        for tool in tools
    )
