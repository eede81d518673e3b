"""The maximum usage of a response, read from its body.

https://developers.openai.com/api/reference/resources/responses
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.apis.arrival import objects, others, refuse, text_in, text_of, tier_in, whole
from gateway.apis.body_rules import OPENAI_TTLS, BodyRules
from gateway.apis.chat.usage_bound import Measure
from gateway.apis.documents import pages_of_url
from gateway.apis.responses.named import is_reference
from gateway.apis.responses.tools import ResponsesTools
from gateway.core.request_body import MESSAGES_MAX, invalid
from gateway.core.usage_bound import OutputLimits, ToolUses, UsageBound

_SENTENCES: Final = {
    "background": "background is not supported: background responses cannot be observed",
    "prompt": "prompt is not supported: templates are stored at the provider, so their size and "
    "tools are unknown; send instructions and input",
    "multi_agent": "multi_agent is not supported: the provider would run any number of agents; run "
    "them in the client",
}
# With one of these, a request may have no input.
_CONTINUED: Final = ("previous_response_id", "conversation")
# Every other field of a body is counted as prompt.
_NO_PROMPT: Final = frozenset(
    {
        *("model", "input", "max_output_tokens", "max_tool_calls", "stream", "stream_options"),
        *("temperature", "top_p", "top_logprobs", "truncation", "include", "store", "user"),
        *("metadata", "service_tier", "parallel_tool_calls", "safety_identifier", "background"),
        *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
        *("background_options", "previous_response_id", "conversation"),
    }
)
# Items that are only text. Items of tools that are refused here may be part of a conversation
# that began elsewhere.
_OF_TEXT: Final = frozenset(
    {
        *("apply_patch_call", "apply_patch_call_output", "code_interpreter_call", "compaction"),
        *("compaction_summary", "compaction_trigger", "context_compaction", "computer_call"),
        *("configuration_update", "custom_tool_call", "file_search_call"),
        *("function_call", "local_shell_call", "local_shell_call_output", "mcp_approval_request"),
        *("mcp_approval_response", "mcp_call", "mcp_list_tools", "program", "program_output"),
        *("reasoning", "shell_call", "shell_call_output", "tool_search_call", "web_search_call"),
    }
)
_OUTPUTS: Final = frozenset(
    {"function_call_output", "custom_tool_call_output", "computer_call_output"}
)
_IMAGES: Final = frozenset({"input_image", "computer_screenshot"})
# What the provider encrypted for an agent is no shorter than its text.
_TEXTS: Final = frozenset(
    {"input_text", "output_text", "text", "refusal", "summary_text", "encrypted_content"}
)
_TOOLS: Final = ("tools", "tools.tools", "input.tools", "input.tools.tools")
RULES: Final = BodyRules(
    # The first three, and items that have only an id, are checked when it is known whose they are.
    ids=(
        *("previous_response_id", "conversation", "conversation.id"),
        *("input.id", "input.call_id", "input.caller.caller_id", "input.approval_request_id"),
        *("input.acknowledged_safety_checks.id", "input.pending_safety_checks.id"),
    ),
    own=(
        *("metadata", "client_metadata", "input.arguments", "input.action.env"),
        # Codex puts the ids of its turns there when it is set up for OpenAI.
        "input.internal_chat_message_metadata_passthrough",
        *(f"{at}.{name}" for at in _TOOLS for name in ("parameters", "input_schema")),
        *(f"{at}.output_schema" for at in _TOOLS),
        "text.format.schema",
    ),
    cache_ttls=OPENAI_TTLS,
)


def usage_bound_of(fields: Mapping[str, Any]) -> UsageBound:
    """Return the usage bound of a response. Raises Refused, which names the field."""
    refuse(fields, _SENTENCES)
    measure, items = Measure(), items_of(fields)
    for index, item in enumerate(items):
        _read_item(measure, item, f"input[{index}]")
    tools = tools_in(fields)
    uses_of(fields, tools)  # raises Refused
    return UsageBound(
        texts=(*measure.texts, *others(fields, _NO_PROMPT)),
        messages=len(items) + 1,  # the instructions
        overhead_tokens=tools.overhead_tokens,
        images=measure.images,
        pages=measure.pages,
        context_reads=measure.context_reads,
        buckets=RULES.buckets_of(fields) | measure.buckets,
        service_tier=tier_in(fields),
        output=output_of(fields),
    )


def output_of(fields: Mapping[str, Any]) -> OutputLimits:
    """Return the output that a body allows, reasoning included. Raises Refused."""
    return OutputLimits(max_tokens=whole(fields, "max_output_tokens"))


def tools_in(fields: Mapping[str, Any]) -> ResponsesTools:
    """Return the total of all tools of a body, also of those that items define. Raises Refused."""
    tools = ResponsesTools()
    for holder in (fields, *items_of(fields)):
        if holder.get("type") != "mcp_list_tools":
            tools.take(objects(holder, "tools"))
    return tools


def uses_of(fields: Mapping[str, Any], tools: ResponsesTools) -> ToolUses:
    """Return what its tools at the provider can add to a request. Raises Refused."""
    calls = tools.calls_at_provider(fields)
    return ToolUses(
        times=calls,
        each=tools.call_tokens,
        searches=calls if tools.searches else 0,
        by_preview=tools.previews,
        compactions=int(compacts_later(fields) or any(map(_compacts_now, items_of(fields)))),
    )


def items_of(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the items of input; a string is one message. Raises Refused."""
    given = fields.get("input")
    if given in (None, []) and any(fields.get(name) for name in _CONTINUED):
        return []
    if isinstance(given, str) and given:
        return [{"role": "user", "content": given}]
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise invalid("input must be a non-empty string or a list of items")
    if not given:
        raise invalid("input must be a non-empty list")
    if len(given) > MESSAGES_MAX:
        raise invalid(f"input must have at most {MESSAGES_MAX} items")
    return given


def _read_item(measure: Measure, item: Mapping[str, Any], where: str) -> None:
    kind = text_in(item, "type", f"{where}.type") or "message"
    if is_reference(item):
        return  # its tokens are known with its id
    if kind == "image_generation_call" and not item.get("result"):
        raise invalid(f"{where}.result must be the image: images are not stored at the provider")
    if kind == "agent_message" or (kind == "message" and isinstance(item.get("role"), str)):
        _read_content(measure, item, "content", where)
    elif kind in _OUTPUTS:
        _read_content(measure, item, "output", where)
    elif kind == "image_generation_call":
        measure.image()
        measure.texts.append(text_of({**item, "result": None}))
    elif kind in _OF_TEXT or "tools" in item:
        measure.texts.append(text_of(item))
    elif kind == "message":
        raise invalid(f"{where} must be an object with a role or a type")
    else:
        measure.texts.append(text_of(item))
        measure.fits_in_context()


def _read_content(measure: Measure, item: Mapping[str, Any], name: str, where: str) -> None:
    """Measure an item with content: text, or a list of parts."""
    content = item.get(name)
    rest = {key: value for key, value in item.items() if key not in (name, "type", "role")}
    if rest:
        measure.texts.append(text_of(rest))
    parts = [content] if isinstance(content, dict) else content
    if not isinstance(parts, list):
        if content is not None:
            measure.texts.append(text_of(content))
        return
    for index, part in enumerate(parts):
        if not isinstance(part, dict):
            raise invalid(f"{where}.{name}[{index}] must be an object with a type")
        _read_part(measure, part, f"{where}.{name}[{index}]")


def _read_part(measure: Measure, part: Mapping[str, Any], where: str) -> None:
    kind = text_in(part, "type", f"{where}.type")
    if kind in _IMAGES:
        measure.image()
    elif kind in _TEXTS and part.keys() == {"type", "text"}:
        measure.texts.append(text_of(part["text"]))
    elif kind in _TEXTS:
        measure.texts.append(text_of(part))
    elif kind == "input_file":
        measure.document(pages_of_url(part.get("file_data")))
        measure.texts += others(part, ("type", "file_data"))
    else:  # what is unknown is read as anything
        if kind != "input_audio":
            measure.texts.append(text_of(part))
        measure.fits_in_context()


def compacts_later(fields: Mapping[str, Any]) -> bool:
    """Whether the provider may compact the conversation at any time, also the answer so far.

    https://developers.openai.com/api/docs/guides/compaction
    """
    return bool(fields.get("context_management"))


def _compacts_now(item: Mapping[str, Any]) -> bool:
    """Whether an item makes the provider compact what is before it."""
    return item.get("type") == "compaction_trigger"
