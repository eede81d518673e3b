"""Measure the tools of Google's generateContent: who runs them, and what they cost.

https://ai.google.dev/gemini-api/docs/tools
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

from gateway.apis.arrival import TOOL_FRAME_TOKENS, TOOLS_FRAME_TOKENS, text_of
from gateway.apis.generate.spelling import in_camel_case
from gateway.core.request_body import invalid
from gateway.core.usage_bound import HOSTED_CALLS_MAX, NO_USES, SEARCH_TOKENS, OutputCap, ToolUses
from orgs.core.values import quoted

# Google documents no maximum.
CONTEXT_READS_GUESSED: Final = 10
# The request, and once more with the fetched pages, which fit in the context.
PAGES_READS: Final = 2

_FUNCTIONS: Final = "functionDeclarations"
_COMPUTER: Final = "computerUse"
_CODE: Final = "codeExecution"
_PAGES: Final = "urlContext"
_UNBOUNDED: Final = (
    "The number of code runs has no upper bound; where a limit applies, remove the tool"
)
_SEARCHES: Final = frozenset({"googleSearch", "googleSearchRetrieval"})
_REFUSED: Final = {
    "fileSearch": (
        "fileSearch is not supported: files stored at the provider are shared by the installation"
    ),
    "googleMaps": "googleMaps is not supported: the usage does not report its queries, so they "
    "cannot be charged",
    "mcpServers": (
        "mcpServers is not supported: the provider would call the servers, and the size of their "
        "results has no upper bound"
    ),
}
_TOOL: Final = frozenset({_FUNCTIONS, _COMPUTER, _CODE, _PAGES, *_SEARCHES, *_REFUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateToolNeeds:
    """The total of a request's tools, in the fields of `UsageBound`."""

    texts: tuple[str, ...] = ()
    overhead_tokens: int = 0
    context_reads: int = 0
    unbounded: str | None = None


def needs_of(tools: Sequence[object]) -> GenerateToolNeeds:
    """Return the tools' total. Raises Refused for one that cannot be charged."""
    if not tools:
        return GenerateToolNeeds()
    named = [_named(tool) for tool in tools]
    kinds = _kinds(named)
    return GenerateToolNeeds(
        texts=tuple(text_of(tool) for tool in named),
        overhead_tokens=TOOLS_FRAME_TOKENS + TOOL_FRAME_TOKENS * sum(map(_functions, named)),
        context_reads=_context_reads(kinds),
        unbounded=_UNBOUNDED if _CODE in kinds else None,
    )


def uses_of(tools: Sequence[object], cap: OutputCap) -> ToolUses:
    """Return what searches can add to a request. Google has no field for the most queries: those
    beyond are an overrun.
    """
    if not _kinds([_named(tool) for tool in tools]) & _SEARCHES:
        return NO_USES
    searches = cap.searches.most if cap.searches else HOSTED_CALLS_MAX
    return ToolUses(times=searches, each=SEARCH_TOKENS, searches=searches)


def _kinds(named: Sequence[Mapping[str, Any]]) -> Set[str]:
    return {kind for tool in named for kind, value in tool.items() if value is not None}


def _context_reads(kinds: Set[str]) -> int:
    if _CODE in kinds:
        return CONTEXT_READS_GUESSED
    if _PAGES in kinds:
        return PAGES_READS
    # What Google adds for computer use is undocumented; it fits in the context.
    return int(_COMPUTER in kinds)


def _named(tool: object) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise invalid("tools must be a list of objects")
    named = in_camel_case(tool, _TOOL)
    for kind, value in named.items():
        if value is None:
            continue
        if kind in _REFUSED:
            raise invalid(_REFUSED[kind])
        if kind not in _TOOL:  # it may run at the provider, at an unknown price
            raise invalid(f"Unknown tool {quoted(kind)}")
    return named


def _functions(tool: Mapping[str, Any]) -> int:
    declared = tool.get(_FUNCTIONS)
    return len(declared) if isinstance(declared, list) else 1
