"""Measure the tools of Anthropic's messages: who runs them, and what they cost.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/tool-reference
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.apis.arrival import TOOL_FRAME_TOKENS, TOOLS_FRAME_TOKENS, whole
from gateway.core.request_body import invalid
from orgs.core.values import quoted

USES_MAX: Final = 1000
# The iterations of Anthropic's own loop before it pauses, if nothing else ends it.
CONTEXT_READS_GUESSED: Final = 10

# The tokens that the vendor adds for its predefined tools that the caller runs. Documented: bash
# 245, the editor 700, the computer 735 and a system prompt of 499; these are above.
_RUN_BY_CALLER: Final = {"bash": 512, "text_editor": 1024, "computer": 2048}
# For these it is undocumented: whatever it adds fits in the model's context.
_UNMEASURED: Final = frozenset({"memory", "browser_toolset", "computer_toolset"})
_SEARCH: Final = "web_search"
_FETCH: Final = "web_fetch"
_TOOL_SEARCHES: Final = frozenset({"tool_search_tool_bm25", "tool_search_tool_regex"})
# The first versions are called only by the model; later ones also by code that it writes.
_DIRECT_ONLY: Final = frozenset({"web_search_20250305", "web_fetch_20250910"})
_DATE: Final = re.compile(r"_\d{8}$")

_SENTENCES: Final = {
    "code_execution": (
        "code_execution is not supported: it is billed by container hours, which the usage does "
        "not report, so it cannot be charged"
    ),
    "advisor": "advisor is not supported: it calls another model, which policies have not checked",
    "mcp_toolset": (
        "mcp_toolset is not supported: the provider would call the servers, and the size of their "
        "results has no upper bound"
    ),
}
_NO_LIMIT: Final = (
    "Tool {} has no upper bound without max_uses; where a limit applies, set max_uses"
)
_FROM_CODE: Final = (
    "Tool {} can be called from code any number of times; where a limit applies, set "
    '"allowed_callers": ["direct"] and max_uses'
)
_TOOL_SEARCH: Final = "Tool {} has no upper bound on its searches; where a limit applies, remove it"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesToolNeeds:
    """The total of a request's tools, in the fields of `UsageBound`."""

    overhead_tokens: int = 0
    context_reads: int = 0
    searches: int = 0
    unbounded: str | None = None


def needs_of(tools: Sequence[Mapping[str, Any]]) -> MessagesToolNeeds:
    """Return the tools' total. Raises Refused for one that cannot be charged."""
    if not tools:
        return MessagesToolNeeds()
    each = [_needs(tool) for tool in tools]
    uses = sum(needs.context_reads for needs in each)
    unbounded = next((needs.unbounded for needs in each if needs.unbounded), None)
    # The context is read once more after each use.
    context_reads = uses + 1 if uses else int(any(_family(tool) in _UNMEASURED for tool in tools))
    return MessagesToolNeeds(
        overhead_tokens=TOOLS_FRAME_TOKENS + sum(needs.overhead_tokens for needs in each),
        context_reads=max(context_reads, CONTEXT_READS_GUESSED) if unbounded else context_reads,
        searches=sum(needs.searches for needs in each),
        unbounded=unbounded,
    )


def _family(tool: Mapping[str, Any]) -> str:
    """Return a tool's type without its date; the caller's own tools have none."""
    kind = tool.get("type")
    if kind is None or kind == "custom":
        return ""
    if not isinstance(kind, str):
        raise invalid("A tool's type must be a string")
    return _DATE.sub("", kind)


def _needs(tool: Mapping[str, Any]) -> MessagesToolNeeds:
    """Return one tool's needs; its `context_reads` are its uses."""
    family = _family(tool)
    if family in _SENTENCES:
        raise invalid(_SENTENCES[family])
    if family in (_SEARCH, _FETCH):
        return _needs_of_the_web(tool, family)
    if family in _TOOL_SEARCHES:
        sentence = _TOOL_SEARCH.format(family)
        return MessagesToolNeeds(overhead_tokens=TOOL_FRAME_TOKENS, unbounded=sentence)
    if family and family not in _RUN_BY_CALLER and family not in _UNMEASURED:
        # It may run at the provider, at an unknown price.
        raise invalid(f"Unknown tool type {quoted(str(tool['type']))}")
    return MessagesToolNeeds(overhead_tokens=_RUN_BY_CALLER.get(family, TOOL_FRAME_TOKENS))


def _needs_of_the_web(tool: Mapping[str, Any], family: str) -> MessagesToolNeeds:
    """Return the needs of searching (a fee for each search) or fetching (only tokens)."""
    kind = str(tool["type"])
    uses = whole(tool, "max_uses")
    if uses is not None and uses > USES_MAX:
        raise invalid(f"max_uses must be an integer between 1 and {USES_MAX}")
    callers = tool.get("allowed_callers")
    is_direct = callers == ["direct"] or (kind in _DIRECT_ONLY and callers is None)
    no_limit = None if uses else _NO_LIMIT.format(kind)
    context_reads = uses or CONTEXT_READS_GUESSED
    return MessagesToolNeeds(
        overhead_tokens=TOOLS_FRAME_TOKENS,  # its definition is the vendor's own
        context_reads=context_reads,
        searches=context_reads if family == _SEARCH else 0,
        unbounded=no_limit if is_direct else _FROM_CODE.format(kind),
    )
