"""Anthropic's betas and what each brings into a body, which is refused without it.

https://platform.claude.com/docs/en/api/beta-headers and the SDK's beta types; the betas of Claude
Code that have no page are on record from its requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

Body = Mapping[str, Any]
Holds = Callable[[Body], bool]


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield each object at any depth."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            yield from _objects(each)


def _has(name: str) -> Holds:
    return lambda body: body.get(name) is not None


def _anywhere(name: str, *values: object) -> Holds:
    return lambda body: any(
        name in each and (not values or each[name] in values) for each in _objects(dict(body))
    )


def _tool(prefix: str) -> Holds:
    """Whether a tool is declared or defined whose type begins so."""
    return lambda body: any(
        str(tool.get("type", "")).startswith(prefix)
        for tool in (
            *(body.get("tools") or ()),
            *(each["definition"] for each in _objects(dict(body)) if "definition" in each),
        )
    )


def _in(name: str, *fields: str) -> Holds:
    return lambda body: any(field in (body.get(name) or {}) for field in fields)


def _turn(field: str) -> Holds:
    return lambda body: any(field in turn for turn in body["messages"])


def _edit(prefix: str) -> Holds:
    return lambda body: any(
        str(edit.get("type")).startswith(prefix)
        for edit in (body.get("context_management") or {}).get("edits", ())
    )


def _changes_tools(body: Body) -> bool:
    changes = [
        each
        for each in _objects(dict(body))
        if each.get("type") in {"tool_addition", "tool_removal"}
    ]
    return any(change["tool"].get("type") != "tool_definition" for change in changes)


# What is refused, and the betas of which one is enough.
ENABLED: Final[Mapping[str, tuple[Holds, tuple[str, ...]]]] = {
    "context_management": (_has("context_management"), ("context-management-2025-06-27",)),
    "compaction edits": (_edit("compact"), ("compact-2026-01-12",)),
    "compaction": (_has("compaction"), ("compact-2026-09-04",)),
    "diagnostics": (_has("diagnostics"), ("cache-diagnosis-2026-04-07",)),
    "speed": (_has("speed"), ("fast-mode-2026-02-01",)),
    "fallbacks": (
        _has("fallbacks"),
        ("server-side-fallback-2026-06-01", "server-side-fallback-2026-07-01"),
    ),
    "fallback_credit_token": (
        _has("fallback_credit_token"),
        ("fallback-credit-2026-06-01", "fallback-credit-2026-07-01"),
    ),
    "user_profile_id": (
        _has("user_profile_id"),
        ("user-profiles-2026-03-24", "user-profiles-2026-08-18", "user-profiles-2026-09-04"),
    ),
    "billing_policy": (_has("billing_policy"), ("user-profiles-billing-2026-10-01",)),
    "thread": (_has("thread"), ("message-threads-2026-08-12",)),
    "mcp_servers": (
        _has("mcp_servers"),
        ("mcp-client-2025-04-04", "mcp-client-2025-11-20", "mcp-client-2026-09-15"),
    ),
    "container": (_has("container"), ("skills-2025-10-02", "code-execution-2025-05-22")),
    "file_id": (_anywhere("file_id"), ("files-api-2025-04-14",)),
    "advisor": (_tool("advisor"), ("advisor-tool-2026-03-01",)),
    "code_execution": (_tool("code_execution_20250522"), ("code-execution-2025-05-22",)),
    "computer_20241022": (_tool("computer_20241022"), ("computer-use-2024-10-22",)),
    "computer_20250124": (_tool("computer_20250124"), ("computer-use-2025-01-24",)),
    "computer_20251124": (_tool("computer_20251124"), ("computer-use-2025-11-24",)),
    "web_fetch_20250910": (_tool("web_fetch_20250910"), ("web-fetch-2025-09-10",)),
    "memory": (_tool("memory"), ("context-management-2025-06-27",)),
    "tools by reference": (_changes_tools, ("mid-conversation-tool-changes-2026-07-01",)),
    "tools by value": (_anywhere("definition"), ("inline-tools-2026-09-15",)),
    "messages.output_config": (
        _turn("output_config"),
        ("per-turn-control-2026-07-01", "mid-conversation-output-config-2026-07-01"),
    ),
    "messages.clear_at": (_turn("clear_at"), ("mid-conversation-system-clear-at-2026-08-21",)),
    "defer_loading": (
        _anywhere("defer_loading"),
        ("advanced-tool-use-2025-11-20", "tool-search-tool-2025-10-19"),
    ),
    "tool_reference": (
        _anywhere("tool_name"),
        ("advanced-tool-use-2025-11-20", "tool-search-tool-2025-10-19"),
    ),
    "input_examples": (
        _anywhere("input_examples"),
        ("advanced-tool-use-2025-11-20", "tool-examples-2025-10-29"),
    ),
    "cache_control.scope": (_anywhere("scope"), ("prompt-caching-scope-2026-01-05",)),
    "cache_control.ttl": (_anywhere("ttl"), ("extended-cache-ttl-2025-04-11",)),
    "output_format": (
        _has("output_format"),
        ("structured-outputs-2025-11-13", "structured-outputs-2025-12-15"),
    ),
    "output_config.effort": (_in("output_config", "effort"), ("effort-2025-11-24",)),
    "output_config.task_budget": (
        _in("output_config", "task_budget"),
        ("task-budgets-2026-03-13",),
    ),
    "thinking.block_binding": (
        _in("thinking", "block_binding"),
        ("thinking-binding-controls-2026-08-01",),
    ),
    "thinking.display": (_anywhere("display", "updates"), ("thinking-display-updates-2026-08-18",)),
    "safeguards": (_has("safeguards"), ("dangerous-tool-use-2026-09-03",)),
    "context_hint": (_has("context_hint"), ("context-hint-2026-04-09",)),
    "max_tokens above 128000": (
        lambda body: (body.get("max_tokens") or 0) > 128_000,
        ("output-300k-2026-03-24",),
    ),
}


def not_enabled(headers: Mapping[str, str], body: Body) -> list[str]:
    """Return what a body holds without the beta for it."""
    betas = {name.strip() for name in headers.get("anthropic-beta", "").split(",")}
    return [
        what
        for what, (holds, enough) in ENABLED.items()
        if betas.isdisjoint(enough) and holds(body)
    ]
