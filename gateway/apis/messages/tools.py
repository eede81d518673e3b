"""Measure the tools of Anthropic's messages: who runs them, and what they cost.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/tool-reference
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from gateway.apis.arrival import TOOL_FRAME_TOKENS, TOOLS_FRAME_TOKENS, whole
from gateway.core.request_body import invalid
from gateway.core.usage_bound import NO_USES, OutputCap, ToolUses
from gateway.upstream.untrusted_json import WORD_MAX_CHARS
from orgs.core.values import quoted

Tool = Mapping[str, Any]

# Written into a request where a limit applies: how often each web tool may be used, what may call
# it, and how much of a page it may read.
USES: Final = 5
CONTENT_TOKENS: Final = 20_000
DIRECT: Final = ["direct"]

# More cannot be used. Where a limit applies, fewer are written into the request anyway.
USES_MAX: Final = 1000
# The model is asked again after its tools' results, at most so often before the vendor pauses:
# "The default limit is 10 iterations per request"
# (https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons).
READS_MAX: Final = 9
# Figures, not bounds: no vendor limits what a search returns, and each iteration has the whole
# output cap. A search returns about 10,000 tokens; before it the model writes a query.
RESULT_TOKENS: Final = 20_000
FOUND_TOOLS_TOKENS: Final = 512  # names only: their definitions are in the request
WRITTEN_TOKENS: Final = 4096

# The tokens that the vendor adds for its predefined tools that the caller runs. Documented: bash
# 245, the editor 700, the computer 735 and a system prompt of 499; these are above. For memory,
# an instruction and a tool like the editor, and for toolsets of up to 30 tools it is undocumented.
_RUN_BY_CALLER: Final = {
    **{"bash": 512, "text_editor": 1024, "computer": 2048, "memory": 2048},
    **{"browser_toolset": 16_384, "computer_toolset": 16_384},
}
_SEARCH: Final = "web_search"
_WEB: Final = frozenset({_SEARCH, "web_fetch"})
# The first versions are called only by the model; later ones also by code that it writes.
_DIRECT_ONLY: Final = frozenset({"web_search_20250305", "web_fetch_20250910"})
_TOOL_SEARCHES: Final = frozenset({"tool_search_tool_bm25", "tool_search_tool_regex"})
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
_UNKNOWN: Final = (
    "Tool type {} is not known here, and may have a price; where a limit applies, remove it"
)
_LIMITED: Final = "{} limited to {} uses"


def overhead_of(tools: Sequence[Tool]) -> int:
    """Return what the vendor adds around tools. Raises Refused for one that cannot be charged."""
    return TOOLS_FRAME_TOKENS + sum(map(_overhead, tools)) if tools else 0


def _overhead(tool: Tool) -> int:
    family = _family(tool)
    if family in _SENTENCES:
        raise invalid(_SENTENCES[family])
    if family in _WEB:
        _uses(tool)
        return TOOLS_FRAME_TOKENS  # its definition is the vendor's own
    return _RUN_BY_CALLER.get(family, TOOL_FRAME_TOKENS)


def unknown_in(tools: Sequence[Tool]) -> str | None:
    """Return the type of a tool that is not known, None if all are."""
    known = {"", *_SENTENCES, *_WEB, *_TOOL_SEARCHES, *_RUN_BY_CALLER}
    kinds = (tool["type"] for tool in tools if _family(tool) not in known)
    return next((kind[:WORD_MAX_CHARS] for kind in kinds), None)


def unbounded_by(kind: str | None) -> str | None:
    """Return why a request with a tool of an unknown type has no bound."""
    return kind and _UNKNOWN.format(quoted(kind))


def uses_of(tools: Sequence[Tool], *, output_cap: int) -> ToolUses:
    """Return what the uses of tools that run at the provider can add to a request."""
    uses = searches = adds = 0
    for tool in tools:
        family = _family(tool)
        if family in _WEB:
            times = _uses(tool) or READS_MAX
            searches += times if family == _SEARCH else 0
            adds = max(adds, RESULT_TOKENS, whole(tool, "max_content_tokens", least=0) or 0)
        elif family in _TOOL_SEARCHES:
            times = READS_MAX
            adds = max(adds, FOUND_TOOLS_TOKENS)
        else:
            continue
        uses += times
    if not uses:
        return NO_USES
    written = min(WRITTEN_TOKENS, output_cap)
    return ToolUses(
        times=uses,
        reads=min(uses, READS_MAX),
        each=adds + written,
        written=written,
        searches=searches,
    )


def limited(fields: Mapping[str, Any], cap: OutputCap) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a body whose web tools have the limits, and what was changed, a sentence for each.

    Tools are limited where they are: in `tools`, or added in a message.
    """
    notes: list[str] = []
    sent = dict(fields)
    if isinstance(tools := fields.get("tools"), list):
        sent["tools"] = [_limited(tool, cap, notes) for tool in tools]
    if any(added_in(message) for message in fields["messages"]):
        sent["messages"] = [_with_limits(message, cap, notes) for message in fields["messages"]]
    return sent, tuple(dict.fromkeys(notes))


def added_in(message: Mapping[str, Any]) -> Iterator[Tool]:
    """Yield the tools that a message defines.

    https://platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages
    """
    content = message.get("content")
    for block in content if isinstance(content, list) else ():
        if (definition := _definition(block)) is not None:
            yield definition


def _definition(block: object) -> Tool | None:
    if not isinstance(block, dict) or block.get("type") != "tool_addition":
        return None
    tool = block.get("tool")
    definition = tool.get("definition") if isinstance(tool, dict) else None
    return definition if isinstance(definition, dict) else None


def _with_limits(message: Mapping[str, Any], cap: OutputCap, notes: list[str]) -> Mapping[str, Any]:
    if not any(added_in(message)):
        return message
    blocks = [
        block
        if (definition := _definition(block)) is None
        else {**block, "tool": {**block["tool"], "definition": _limited(definition, cap, notes)}}
        for block in message["content"]
    ]
    return {**message, "content": blocks}


def _limited(tool: Tool, cap: OutputCap, notes: list[str]) -> Tool:
    """Return a web tool with its limits: code that the model writes could call it at any rate."""
    family = _family(tool)
    limit = cap.uses_limit(USES, searches=family == _SEARCH)
    if family not in _WEB or limit is None:
        return tool
    changed = {**tool, "max_uses": min(_uses(tool) or limit.most, limit.most)}
    if tool.get("allowed_callers") is not None or tool["type"] not in _DIRECT_ONLY:
        changed["allowed_callers"] = DIRECT
    if family != _SEARCH and tool.get("max_content_tokens") is None:
        changed["max_content_tokens"] = CONTENT_TOKENS
    if changed["max_uses"] != tool.get("max_uses"):
        notes.append(limit.note(_LIMITED.format(family, changed["max_uses"])))
    return changed


def _uses(tool: Tool) -> int | None:
    """Return the maximum of uses, at most USES_MAX. Raises Refused."""
    uses = whole(tool, "max_uses")
    return uses and min(uses, USES_MAX)


def _family(tool: Tool) -> str:
    """Return a tool's type without its date; the caller's own tools have none."""
    kind = tool.get("type")
    if kind is None or kind == "custom":
        return ""
    if not isinstance(kind, str):
        raise invalid("A tool's type must be a string")
    return _DATE.sub("", kind)
