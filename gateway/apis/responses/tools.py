"""Which tools of a response run here: those of the client, and searches that can be bounded.

https://developers.openai.com/api/docs/guides/tools
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.apis.arrival import TOOL_FRAME_TOKENS, TOOLS_FRAME_TOKENS, objects, whole
from gateway.core.request_body import invalid
from gateway.core.strict_json import quoted

CALLS_MAX: Final = 1000
# Where nobody says how often a tool may run at the provider, the figures are made with this.
CALLS_GUESSED: Final = 10
UNBOUNDED: Final = (
    "Without max_tool_calls nothing bounds what a search at the provider costs; set max_tool_calls"
)
_BY_CLIENT: Final = frozenset({"function", "custom"})
# The client runs these too, but the provider describes them to the model in its own words, whose
# length is not published.
_BY_CLIENT_DESCRIBED: Final = frozenset(
    {"apply_patch", "computer", "computer_use_preview", "local_shell"}
)
DESCRIBED_TOKENS: Final = 4096
_SEARCH: Final = "web_search"
_WHY_NOT: Final = {
    "code_interpreter": "is billed by the time that its container lives",
    "file_search": "reads files that belong to the whole installation",
    "image_generation": "is billed by another model's prices",
    "mcp": "sends what was said to another server",
    "programmatic_tool_calling": "runs programs at the provider",
    "shell": "runs in a container at the provider, unless its environment is local",
    "web_fetch": "has no price here",
}


@dataclass(slots=True)
class ResponsesTools:
    """What the tools of one request come to."""

    count: int = 0
    described: int = 0
    searches: bool = False
    runs_at_provider: bool = False

    @property
    def overhead_tokens(self) -> int:
        """Return what is written around the tools, beside their definitions."""
        if not self.count:
            return 0
        framed = TOOLS_FRAME_TOKENS + TOOL_FRAME_TOKENS * self.count
        return framed + DESCRIBED_TOKENS * self.described

    def take(self, tools: Iterable[Mapping[str, Any]]) -> None:
        """Take in a list of tools. Raises Refused for one that runs where nothing bounds it."""
        for tool in tools:
            self.count += 1
            kind = tool.get("type")
            if not isinstance(kind, str):
                raise invalid("A tool is an object with a type")
            if kind.startswith(_SEARCH):
                self.searches = self.runs_at_provider = True
            elif kind == "namespace":
                self.take(objects(tool, "tools"))
            elif kind == "tool_search":
                self.runs_at_provider |= tool.get("execution") != "client"
            elif kind in _BY_CLIENT_DESCRIBED or _is_local_shell(tool):
                self.described += 1
            elif kind not in _BY_CLIENT:
                why = _WHY_NOT.get(kind, "is not known here, so it has no price")
                raise invalid(f"Tool {quoted(kind)} is not taken: it {why}")

    def calls_at_provider(self, fields: Mapping[str, Any]) -> int:
        """Return how often tools can run at the provider."""
        asked = whole(fields, "max_tool_calls")
        if not self.runs_at_provider:
            return 0
        if asked is None:
            return CALLS_GUESSED
        if asked > CALLS_MAX:
            raise invalid(f"max_tool_calls is a whole number from 1 to {CALLS_MAX}")
        return asked


def _is_local_shell(tool: Mapping[str, Any]) -> bool:
    environment = tool.get("environment")
    is_local = isinstance(environment, dict) and environment.get("type") == "local"
    return tool.get("type") == "shell" and is_local
