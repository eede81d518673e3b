"""The maximum usage of a messages request, read from its body.

https://platform.claude.com/docs/en/api/messages/create
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.apis.arrival import objects, others, refuse, text_of, whole
from gateway.apis.body_rules import BodyRules
from gateway.apis.chat.usage_bound import Measure
from gateway.apis.messages.tools import needs_of
from gateway.core.request_body import MESSAGES_MAX, invalid
from gateway.core.usage_bound import OutputLimits, UsageBound
from orgs.core.values import quoted

# Every other field of a body is counted as prompt.
_NO_PROMPT: Final = frozenset(
    {
        *("model", "messages", "system", "tools", "max_tokens", "stream", "stop_sequences"),
        *("temperature", "top_p", "top_k", "metadata", "service_tier", "inference_geo", "speed"),
        *("thinking", "cache_control", "tool_choice"),
    }
)
_ANOTHER_PAYER: Final = "{} is not supported: it could change who pays"
_SENTENCES: Final = {
    **{
        name: _ANOTHER_PAYER.format(name)
        for name in ("billing_policy", "fallback_credit_token", "user_profile_id", "workspace_id")
    },
    "compaction": (
        "compaction is not supported: the usage does not report its tokens, so it cannot be "
        "charged; ask for a summary with a message"
    ),
    "container": (
        "container is not supported: containers and skills at the provider are shared by the "
        "whole installation and billed by the hour"
    ),
    "diagnostics": "diagnostics is not supported: it compares requests of the whole installation",
    "mcp_servers": (
        "mcp_servers is not supported: the provider would call the servers, and the size of their "
        "results has no upper bound"
    ),
    "thread": (
        "thread is not supported: conversations stored at the provider are shared by the whole "
        "installation; send all messages instead"
    ),
}
# Edits that only remove something from the context. The other one, a compaction, uses tokens that
# the usage does not report.
_FREE_EDITS: Final = ("clear_thinking_20251015", "clear_tool_uses_20250919")
_STANDARD_SPEEDS: Final = (None, "standard")
# Any other region costs 10 % more, which the price list does not distinguish.
_STANDARD_PLACES: Final = (None, "global")

# Blocks that contain only text.
_TEXT: Final = frozenset(
    {
        *("text", "thinking", "redacted_thinking", "tool_use", "server_tool_use"),
        *("search_result", "tool_reference"),
    }
)
_TOOL_ADDITION: Final = "Tools must be listed in tools, where they are priced"
_BROWSER: Final = "messages.content.content"  # the state of the caller's own browser
RULES: Final = BodyRules(
    ids=(
        *("metadata.user_id", "messages.content.id", "messages.content.tool_use_id"),
        "messages.content.caller.tool_id",
        *(f"{_BROWSER}.tabs.tab_id", f"{_BROWSER}.state_changes.tab_id"),
        f"{_BROWSER}.state_changes.download_id",
    ),
    own=(
        *("messages.content.input", "tools.input_schema", "tools.input_examples"),
        *("output_config.format.schema", "output_format.schema"),
    ),
    cache_ttls=("5m",),
)


def usage_bound_of(fields: Mapping[str, Any]) -> UsageBound:
    """Return the usage bound of a request. Raises Refused, which names the field."""
    refuse(fields, _SENTENCES)
    _check_price(fields)
    _check_edits(fields.get("context_management"))
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages must be a non-empty list")
    if len(messages) > MESSAGES_MAX:
        raise invalid(f"messages must have at most {MESSAGES_MAX} messages")
    measure = Measure()
    _read_blocks(measure, fields.get("system"), "system")
    for index, message in enumerate(messages):
        _read_message(measure, message, f"messages[{index}]")
    tools = objects(fields, "tools")
    measure.texts += map(text_of, tools)
    needs = needs_of(tools)
    return UsageBound(
        texts=(*measure.texts, *others(fields, _NO_PROMPT)),
        messages=len(messages) + 1,
        overhead_tokens=needs.overhead_tokens,
        images=measure.images,
        context_reads=max(measure.context_reads, needs.context_reads),
        searches=needs.searches,
        buckets=RULES.buckets_of(fields) | measure.buckets,
        output=output_of(fields),
        unbounded=needs.unbounded,
    )


def _check_price(fields: Mapping[str, Any]) -> None:
    if fields.get("speed") not in _STANDARD_SPEEDS:
        raise invalid("speed must be standard: other speeds have another price")
    if fields.get("inference_geo") not in _STANDARD_PLACES:
        raise invalid("inference_geo must be global: other regions have another price")


def _check_edits(management: object) -> None:
    if management is None:
        return
    if not isinstance(management, dict) or management.keys() - {"edits"}:
        raise invalid("context_management must be an object with edits")
    for edit in objects(management, "edits"):
        if edit.get("type") not in _FREE_EDITS:
            kind, offered = quoted(text_of(edit.get("type"))), " and ".join(_FREE_EDITS)
            raise invalid(f"Context edit {kind} is not supported; use {offered}")


def output_of(fields: Mapping[str, Any]) -> OutputLimits:
    """Return the output that a body allows. Raises Refused.

    A cap of 0 only fills the cache. The thinking budget may exceed the cap between tools:
    https://platform.claude.com/docs/en/build-with-claude/extended-thinking#interleaved-thinking
    """
    thinking = fields.get("thinking")
    if thinking is not None and not isinstance(thinking, dict):
        raise invalid("thinking must be an object with a type")
    return OutputLimits(
        max_tokens=whole(fields, "max_tokens", least=0),
        thinking_tokens=whole(thinking or {}, "budget_tokens", least=0) or 0,
    )


def _read_message(measure: Measure, message: object, where: str) -> None:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise invalid(f"{where} must be an object with role and content")
    _read_blocks(measure, message.get("content"), f"{where}.content")
    measure.texts += others(message, ("role", "content"))


def _read_blocks(measure: Measure, content: object, where: str) -> None:
    if content is None:
        return
    if isinstance(content, str):
        measure.texts.append(content)
        return
    if not isinstance(content, list):
        raise invalid(f"{where} must be a string or a list of blocks")
    for index, block in enumerate(content):
        _read_block(measure, block, f"{where}[{index}]")


def _read_block(measure: Measure, block: object, where: str) -> None:
    if not isinstance(block, dict) or not isinstance(block.get("type"), str):
        raise invalid(f"{where} must be an object with a type")
    kind = block["type"]
    if kind == "tool_addition":
        raise invalid(_TOOL_ADDITION)
    if kind == "text" and block.keys() <= {"type", "text", "cache_control"}:
        measure.texts.append(text_of(block.get("text", "")))
    elif kind in _TEXT:
        measure.texts.append(text_of(block))
    elif kind == "image":
        _read_image(measure, block)
    elif kind == "document":
        _read_document(measure, block, where)
    elif kind == "tool_result":
        _read_blocks(measure, block.get("content"), f"{where}.content")
        measure.texts += others(block, ("type", "content", "cache_control"))
    else:
        _read_unknown(measure, block)


def _read_image(measure: Measure, block: Mapping[str, Any]) -> None:
    source = block.get("source")
    kind = source.get("type") if isinstance(source, dict) else None
    if kind not in ("base64", "url"):
        _read_unknown(measure, block)
    measure.image()


def _read_document(measure: Measure, block: Mapping[str, Any], where: str) -> None:
    """Measure a document: a PDF's pages are read as text and images, other ones as text."""
    source = block.get("source")
    kind = source.get("type") if isinstance(source, dict) else None
    if kind == "text":
        measure.texts.append(text_of(block))
    elif kind == "content" and isinstance(source, dict):
        _read_blocks(measure, source.get("content"), f"{where}.source.content")
        measure.texts += others(block, ("type", "source", "cache_control"))
    elif kind in ("base64", "url"):
        measure.fits_in_context()
        measure.texts += others(block, ("type", "source", "cache_control"))
    else:
        _read_unknown(measure, block)


def _read_unknown(measure: Measure, block: Mapping[str, Any]) -> None:
    """Measure an unknown block: it fits in the model's context."""
    measure.texts.append(text_of(block))
    measure.fits_in_context()
