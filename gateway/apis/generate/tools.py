"""What the tools of Google's generateContent need: whose they are, who runs them, what they cost.

https://ai.google.dev/gemini-api/docs/tools
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.apis.arrival import TOOL_FRAME_TOKENS, TOOLS_FRAME_TOKENS, text_of
from gateway.apis.generate.spelling import in_camel_case
from gateway.core.request_body import invalid
from gateway.core.strict_json import quoted

# Google says no maximum for either; a prompt has a few.
CONTEXT_READS_GUESSED: Final = 10
SEARCHES_GUESSED: Final = 10

_FUNCTIONS: Final = "functionDeclarations"
_COMPUTER: Final = "computerUse"
_UNBOUNDED: Final = {
    "codeExecution": "How often code is run and read has no bound",
    "googleSearch": "How often Google is searched has no bound",
    "googleSearchRetrieval": "How often Google is searched has no bound",
    "urlContext": "What is fetched from addresses has no bound",
}
_SEARCHES: Final = frozenset({"googleSearch", "googleSearchRetrieval"})
_REFUSED: Final = {
    "fileSearch": (
        "Files kept at the provider belong to the whole installation, so fileSearch is not offered"
    ),
    "googleMaps": "Questions to Google Maps are not in the usage, so they cannot be charged; "
    "googleMaps is not offered",
    "mcpServers": (
        "MCP servers would be called by the provider, and what they bring in has no bound; "
        "they are not offered"
    ),
}
_TOOL: Final = frozenset({_FUNCTIONS, _COMPUTER, *_UNBOUNDED, *_REFUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateToolNeeds:
    """What all tools of a request need together, in the fields of `UsageBound`."""

    texts: tuple[str, ...] = ()
    overhead_tokens: int = 0
    context_reads: int = 0
    searches: int = 0
    unbounded: str | None = None


def needs_of(tools: Sequence[object]) -> GenerateToolNeeds:
    """Return what the tools need. Raises Refused for one that cannot be charged."""
    if not tools:
        return GenerateToolNeeds()
    named = [_named(tool) for tool in tools]
    kinds = {kind for tool in named for kind, value in tool.items() if value is not None}
    unbounded = next((_UNBOUNDED[kind] for kind in sorted(kinds & _UNBOUNDED.keys())), None)
    return GenerateToolNeeds(
        texts=tuple(text_of(tool) for tool in named),
        overhead_tokens=TOOLS_FRAME_TOKENS + TOOL_FRAME_TOKENS * sum(map(_functions, named)),
        # What Google writes in for the use of a computer is not documented; it fits in the context.
        context_reads=CONTEXT_READS_GUESSED if unbounded else int(_COMPUTER in kinds),
        searches=SEARCHES_GUESSED if kinds & _SEARCHES else 0,
        unbounded=f"{unbounded}; where a limit applies, leave the tool out" if unbounded else None,
    )


def _named(tool: object) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise invalid("tools is a list of objects")
    named = in_camel_case(tool, _TOOL)
    for kind, value in named.items():
        if value is None:
            continue
        if kind in _REFUSED:
            raise invalid(_REFUSED[kind])
        if kind not in _TOOL:  # it may run at the provider, for a price that is in no list
            raise invalid(f"The tool {quoted(kind)} is not known to this gateway")
    return named


def _functions(tool: Mapping[str, Any]) -> int:
    declared = tool.get(_FUNCTIONS)
    return len(declared) if isinstance(declared, list) else 1
