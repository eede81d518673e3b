"""The betas of Anthropic's messages: which are forwarded, and which are not known here.

All are forwarded as they came, but those that change the price or who pays. A body field and its
beta never part: the vendor answers 400 to a field without its beta.

https://platform.claude.com/docs/en/api/beta-headers
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.core.request_body import invalid
from gateway.upstream.untrusted_json import WORD_MAX_CHARS

HEADER: Final = "anthropic-beta"
BETAS_MAX: Final = 100
_NAME: Final = re.compile(rf"[!-+\--~]{{1,{WORD_MAX_CHARS}}}")  # printable, without a comma

# Betas that have no price of their own: what they bring into a body is measured.
KNOWN: Final = frozenset(
    {
        "advanced-tool-use-2025-11-20",
        "afk-mode-2026-01-31",  # Claude Code's; what it classifies are requests of their own
        "cache-diagnosis-2026-04-07",
        "claude-code-20250219",
        "computer-use-2024-10-22",
        "computer-use-2025-01-24",
        "computer-use-2025-11-24",
        "context-1m-2025-08-07",  # `LARGER_CONTEXT`, priced by the band of its input
        "context-hint-2026-04-09",
        "context-management-2025-06-27",
        "dangerous-tool-use-2026-09-03",
        "dev-full-thinking-2025-05-14",
        "effort-2025-11-24",
        "extended-cache-ttl-2025-04-11",
        "fast-mode-2026-02-01",  # its `speed` has a price
        "fine-grained-tool-streaming-2025-05-14",
        "inline-tools-2026-09-15",
        "interleaved-thinking-2025-05-14",
        "max-tokens-3-5-sonnet-2024-07-15",
        "mid-conversation-effort-2026-08-01",
        "mid-conversation-output-config-2026-07-01",
        "mid-conversation-system-2026-04-07",
        "mid-conversation-system-clear-at-2026-08-21",
        "mid-conversation-tool-changes-2026-07-01",
        "model-context-window-exceeded-2025-08-26",
        "output-128k-2025-02-19",
        "output-300k-2026-03-24",
        "pdfs-2024-09-25",
        "per-turn-control-2026-07-01",
        "prompt-caching-2024-07-31",
        "prompt-caching-evict-2026-05-12",
        "prompt-caching-scope-2026-01-05",
        "redact-thinking-2026-02-12",
        "structured-outputs-2025-11-13",
        "structured-outputs-2025-12-15",
        "task-budgets-2026-03-13",
        "thinking-binding-controls-2026-08-01",
        "thinking-display-updates-2026-08-18",
        "thinking-resumption-2026-07-17",
        "thinking-token-count-2026-05-13",
        "token-counting-2024-11-01",
        "token-efficient-tools-2025-02-19",
        "token-efficient-tools-2026-03-28",
        "tool-examples-2025-10-29",
        "tool-search-tool-2025-10-19",
        "web-fetch-2025-09-10",
        "web-search-2025-03-05",
    }
)
# The beta of any date with which some models accept an input above 200,000 tokens:
# https://platform.claude.com/docs/en/build-with-claude/context-windows
LARGER_CONTEXT: Final = "context-1m-"
# Betas of any date that are never forwarded: the provider runs, stores or fetches something for
# them, calls another model, samples beyond the usage, or bills somebody else. Of the fields, blocks
# and tools that they bring in, those that a request is complete without are omitted with them; the
# others are refused, each with its sentence.
DENIED: Final = (
    *("advisor-tool", "agent-memory", "code-execution", "compact", "dreaming", "fallback-credit"),
    *("files-api", "managed-agents", "mcp-client", "mcp-servers", "mcp-tunnels", "message-threads"),
    *("oauth", "server-side-fallback", "skills", "user-profiles"),
)
_DENIED: Final = re.compile(rf"(?:{'|'.join(DENIED)})(?![a-z])", re.IGNORECASE)
# Without them a declined request stays declined, and a repeated one costs what it costs.
OMITTED: Final = {
    "fallbacks": "fallbacks omitted: the provider would call another model",
    "fallback_credit_token": "fallback_credit_token omitted: the provider would bill otherwise",
}
_OMITTED: Final = "Beta {} omitted: it could change the price or who pays"


@dataclass(frozen=True, slots=True)
class Betas:
    """The betas that are forwarded, those of them that are not known here, and those omitted."""

    forwarded: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    omitted: tuple[str, ...] = ()

    @property
    def ask_larger_context(self) -> bool:
        """Whether the larger context is asked for."""
        return any(name.startswith(LARGER_CONTEXT) for name in self.forwarded)


def betas_in(headers: Mapping[str, str]) -> Betas:
    """Return the betas of a request. Raises Refused for a header that is no list of names."""
    given = [name.strip() for name in headers.get(HEADER, "").split(",")]
    names = [name for name in dict.fromkeys(given) if name]
    if len(names) > BETAS_MAX or not all(_NAME.fullmatch(name) for name in names):
        raise invalid(
            f"{HEADER} must list at most {BETAS_MAX} names of up to {WORD_MAX_CHARS} characters"
        )
    omitted = tuple(name for name in names if _DENIED.match(name))
    forwarded = tuple(name for name in names if name not in omitted)
    unknown = tuple(name for name in forwarded if name not in KNOWN)
    return Betas(forwarded, unknown, omitted)


def without_denied(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body fields without those that go with betas that are omitted."""
    return {name: value for name, value in fields.items() if name not in OMITTED}


def sentences_of(betas: Betas, fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what was omitted of a request, a sentence for each."""
    fields_omitted = (OMITTED[name] for name in OMITTED if fields.get(name) is not None)
    return (*map(_OMITTED.format, betas.omitted), *fields_omitted)
