"""Check the tools of a response: client tools, and searches that can be bounded.

https://developers.openai.com/api/docs/guides/tools
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.apis.arrival import TOOL_FRAME_TOKENS, TOOLS_FRAME_TOKENS, objects, whole
from gateway.apis.searches import search_tokens
from gateway.core.request_body import invalid
from gateway.core.usage_bound import HOSTED_CALLS_MAX, SEARCH_TOKENS
from orgs.core.values import quoted

# More cannot be run. Where a limit applies, fewer are written into the request anyway.
CALLS_MAX: Final = 1000
_BY_CLIENT: Final = frozenset({"function", "custom"})
# The client runs these too, but the provider adds its own descriptions of them, whose length is
# not published.
_BY_CLIENT_DESCRIBED: Final = frozenset(
    {"apply_patch", "computer", "computer_use_preview", "local_shell"}
)
DESCRIBED_TOKENS: Final = 4096
_SEARCH: Final = "web_search"
_PREVIEW: Final = "web_search_preview"  # the earlier tool, at another fee, in all its versions
_WHY_NOT: Final = {
    "code_interpreter": "is billed by its container's running time",
    "file_search": "reads files that are shared by the whole installation",
    "image_generation": "is billed at another model's prices",
    "mcp": "sends the conversation to another server",
    "programmatic_tool_calling": "runs programs at the provider",
    "shell": "runs in a container at the provider, unless its environment is local",
    "web_fetch": "has no price",
}


@dataclass(slots=True)
class ResponsesTools:
    """The totals of one request's tools."""

    count: int = 0
    described: int = 0
    searches: bool = False
    previews: bool = False
    runs_at_provider: bool = False
    call_tokens: int = 0  # what each call at the provider adds

    @property
    def overhead_tokens(self) -> int:
        """Return the tokens added around the tools, besides their definitions."""
        if not self.count:
            return 0
        framed = TOOLS_FRAME_TOKENS + TOOL_FRAME_TOKENS * self.count
        return framed + DESCRIBED_TOKENS * self.described

    def take(self, tools: Iterable[Mapping[str, Any]]) -> None:
        """Add a list of tools. Raises Refused for one whose cost has no upper bound."""
        for tool in tools:
            self.count += 1
            kind = tool.get("type")
            if not isinstance(kind, str):
                raise invalid("A tool must be an object with a type")
            if kind.startswith(_SEARCH):
                self.searches = self.runs_at_provider = True
                self.previews |= kind.startswith(_PREVIEW)
                self.call_tokens = max(self.call_tokens, search_tokens(tool))
            elif kind == "namespace":
                self.take(objects(tool, "tools"))
            elif kind == "tool_search":
                self._take_tool_search(tool)
            elif kind in _BY_CLIENT_DESCRIBED or _is_local_shell(tool):
                self.described += 1
            elif kind not in _BY_CLIENT:
                why = _WHY_NOT.get(kind, "is unknown, so it has no price")
                raise invalid(f"Tool {quoted(kind)} is not supported: it {why}")

    def _take_tool_search(self, tool: Mapping[str, Any]) -> None:
        """Add a search for tools: those that it finds are in the request, and read once more."""
        if tool.get("execution") != "client":
            self.runs_at_provider = True
            self.call_tokens = max(self.call_tokens, SEARCH_TOKENS)

    def calls_at_provider(self, fields: Mapping[str, Any]) -> int:
        """Return the maximum number of tool calls at the provider, or a guess without one.

        Raises Refused.
        """
        most = whole(fields, "max_tool_calls")
        return min(most or HOSTED_CALLS_MAX, CALLS_MAX) if self.runs_at_provider else 0


def asks_for_preview(holder: Mapping[str, Any]) -> bool:
    """Whether the tools of a request, a response, an item or a namespace search as the preview did.

    What a search is billed as depends on it, and no search names its tool.
    """
    tools = holder.get("tools")
    if not isinstance(tools, list):
        return False
    named = [tool for tool in tools if isinstance(tool, dict)]
    kinds = (tool.get("type") for tool in named)
    found = any(isinstance(kind, str) and kind.startswith(_PREVIEW) for kind in kinds)
    return found or any(asks_for_preview(tool) for tool in named)


def _is_local_shell(tool: Mapping[str, Any]) -> bool:
    environment = tool.get("environment")
    is_local = isinstance(environment, dict) and environment.get("type") == "local"
    return tool.get("type") == "shell" and is_local
