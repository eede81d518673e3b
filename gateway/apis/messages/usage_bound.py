"""The maximum usage of a messages request, read from its body.

https://platform.claude.com/docs/en/api/messages/create
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from costs.core.usage import STANDARD_PLACE, STANDARD_TIER
from gateway.apis.arrival import objects, others, refuse, text_of, whole, word_in
from gateway.apis.body_rules import ANTHROPIC_TTLS, BodyRules
from gateway.apis.chat.usage_bound import Measure
from gateway.apis.documents import pages_of
from gateway.apis.messages.betas import Betas
from gateway.apis.messages.tools import (
    Tool,
    added_in,
    overhead_of,
    unbounded_by,
    unknown_in,
)
from gateway.core.request_body import MESSAGES_MAX, invalid
from gateway.core.usage_bound import OutputLimits, UsageBound
from gateway.upstream.untrusted_json import WORD_MAX_CHARS
from orgs.core.values import quoted

# Every other field of a body is counted as prompt.
_NO_PROMPT: Final = frozenset(
    {
        *("model", "messages", "system", "tools", "max_tokens", "stream", "stop_sequences"),
        *("temperature", "top_p", "top_k", "metadata", "service_tier", "inference_geo", "speed"),
        *("thinking", "cache_control", "tool_choice", "diagnostics"),
    }
)
_ANOTHER_PAYER: Final = "{} is not supported: it could change who pays"
_BY_HEADER: Final = "{} is not supported: send betas in the header anthropic-beta"
_SENTENCES: Final = {
    **{name: _BY_HEADER.format(name) for name in ("anthropic_beta", "betas")},
    **{
        name: _ANOTHER_PAYER.format(name)
        for name in ("billing_policy", "user_profile_id", "workspace_id")
    },
    "compaction": (
        "compaction is not supported: the usage does not report its tokens, so it cannot be "
        "charged; ask for a summary with a message"
    ),
    "container": (
        "container is not supported: containers and skills at the provider are shared by the "
        "whole installation and billed by the hour"
    ),
    "mcp_servers": (
        "mcp_servers is not supported: the provider would call the servers, and the size of their "
        "results has no upper bound"
    ),
    "thread": (
        "thread is not supported: conversations stored at the provider are shared by the whole "
        "installation; send all messages instead"
    ),
}
# Edits that only remove something from the context.
_FREE_EDITS: Final = ("clear_thinking_20251015", "clear_tool_uses_20250919")
_COMPACTS: Final = "compact"
_COMPACTION: Final = (
    "Context edit {} is not supported: its tokens are not in the usage, so it cannot be charged"
)

# Blocks that contain only text. What a web search found is encrypted, and no shorter than its text.
_TEXT: Final = frozenset(
    {
        *("text", "thinking", "redacted_thinking", "tool_use", "server_tool_use"),
        *("search_result", "tool_reference", "web_search_tool_result", "tool_search_tool_result"),
        *("tool_addition", "tool_removal"),
    }
)
_DEFINITION: Final = "messages.content.tool.definition"
_BROWSER: Final = "messages.content.content"  # the state of the caller's own browser
RULES: Final = BodyRules(
    ids=(
        *("metadata.user_id", "messages.content.id", "messages.content.tool_use_id"),
        *("messages.content.caller.tool_id", "diagnostics.previous_message_id"),
        *(f"{_BROWSER}.tabs.tab_id", f"{_BROWSER}.state_changes.tab_id"),
        f"{_BROWSER}.state_changes.download_id",
    ),
    own=(
        *("messages.content.input", "tools.input_schema", "tools.input_examples"),
        *("output_config.format.schema", "output_format.schema"),
        *(f"{_DEFINITION}.input_schema", f"{_DEFINITION}.input_examples"),
        # What auto mode tells of the person's machine, with the ids of the conversation's calls.
        "safeguards.classifier_context",
    ),
    cache_ttls=ANTHROPIC_TTLS,
)


def usage_bound_of(fields: Mapping[str, Any], betas: Betas) -> UsageBound:
    """Return the usage bound of a request. Raises Refused, which names the field."""
    refuse(fields, _SENTENCES)
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages must be a non-empty list")
    if len(messages) > MESSAGES_MAX:
        raise invalid(f"messages must have at most {MESSAGES_MAX} messages")
    measure = Measure()
    _read_blocks(measure, fields.get("system"), "system")
    for index, message in enumerate(messages):
        _read_message(measure, message, f"messages[{index}]")
    measure.texts += map(text_of, objects(fields, "tools"))
    tools = tools_in(fields)
    unknown_tool = unknown_in(tools)
    unknown = (*betas.unknown, unknown_tool, *_unknown_edits(fields))
    return UsageBound(
        texts=(*measure.texts, *others(fields, _NO_PROMPT)),
        messages=len(messages) + 1,
        overhead_tokens=overhead_of(tools),
        images=measure.images,
        pages=measure.pages,
        context_reads=measure.context_reads,
        buckets=RULES.buckets_of(fields) | measure.buckets,
        service_tier=speed_in(fields),
        place=word_in(fields, "inference_geo") or STANDARD_PLACE,
        output=output_of(fields),
        unknown=tuple(dict.fromkeys(name for name in unknown if name)),
        asks_larger_context=betas.ask_larger_context,
        unbounded=unbounded_by(unknown_tool),
    )


def without_refused(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body that was measured without its empty fields of betas that are omitted."""
    return {name: value for name, value in fields.items() if name not in _SENTENCES}


def tools_in(fields: Mapping[str, Any]) -> Sequence[Tool]:
    """Return all tools of a body that was measured: those in `tools`, and those added later."""
    added = (tool for message in fields["messages"] for tool in added_in(message))
    return [*(fields.get("tools") or ()), *added]


def speed_in(fields: Mapping[str, Any]) -> str:
    """Return the speed, which has prices of its own, like a tier. Raises Refused.

    The tier itself is always the standard one.
    """
    return word_in(fields, "speed") or STANDARD_TIER


def _unknown_edits(fields: Mapping[str, Any]) -> list[str]:
    """Return the context edits that are not known. Raises Refused for a compaction."""
    management = fields.get("context_management")
    if management is None:
        return []
    if not isinstance(management, dict):
        raise invalid("context_management must be an object with edits")
    kinds = [edit.get("type") for edit in objects(management, "edits")]
    unknown = []
    for kind in kinds:
        if not isinstance(kind, str):
            raise invalid("A context edit must have a type")
        if _COMPACTS in kind:
            raise invalid(_COMPACTION.format(quoted(kind)))
        if kind not in _FREE_EDITS:
            unknown.append(kind[:WORD_MAX_CHARS])
    return unknown


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
    if kind == "text" and block.keys() <= {"type", "text", "cache_control"}:
        measure.texts.append(text_of(block.get("text", "")))
    elif kind in _TEXT:
        measure.texts.append(text_of(block))
    elif kind == "image":
        _read_image(measure, block)
    elif kind == "document":
        _read_document(measure, block, where)
    elif kind == "web_fetch_tool_result":
        _read_fetched(measure, block, f"{where}.content")
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
        measure.document(pages_of(source.get("data")) if isinstance(source, dict) else None)
        measure.texts += others(block, ("type", "source", "cache_control"))
    else:
        _read_unknown(measure, block)


def _read_fetched(measure: Measure, block: Mapping[str, Any], where: str) -> None:
    """Measure what a web fetch returned: a document, or an error."""
    page = block.get("content")
    document = page.get("content") if isinstance(page, dict) else None
    if isinstance(document, dict):
        _read_block(measure, document, f"{where}.content")
    else:
        measure.texts.append(text_of(page))
    measure.texts += others(block, ("type", "content", "cache_control"))


def _read_unknown(measure: Measure, block: Mapping[str, Any]) -> None:
    """Measure an unknown block: it fits in the model's context."""
    measure.texts.append(text_of(block))
    measure.fits_in_context()
