"""What Mistral's chat completions and embeddings accept, and refuse with HTTP 422 or 400.

The description of the requests (`mistral_schema`) is checked first, as the API does; then what it
examines afterwards, which its own library shows
(https://github.com/mistralai/mistral-common/blob/main/src/mistral_common/protocol/instruct/validator.py)
and public reports of its errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

import jsonschema_rs

from tests.vendor_rules.mistral.schema import CHAT, EMBEDDINGS
from tests.vendor_rules.shapes import record_faults

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CALL_ID: Final = re.compile(r"[a-zA-Z0-9]{9}")
_DRAFT: Final = "http://json-schema.org/draft-07/schema#"
_FIRST: Final = ("system", "user")
_FOLLOWS: Final[Mapping[str, tuple[str, ...]]] = {
    "system": ("user", "assistant", "system"),
    "user": ("assistant", "system", "user"),
    "assistant": ("assistant", "user", "tool"),
    # `user` was refused ("Unexpected role 'user' after role 'tool'") until the library allowed it:
    # https://github.com/mistralai/mistral-common/pull/218 (2026-04). Servers may lag behind.
    "tool": ("assistant", "tool", "user"),
}
# Places in a schema whose names are the caller's.
_NAMED_BY_CALLER: Final = ("properties", "patternProperties", "$defs", "definitions")
_ADJUSTABLE: Final = re.compile(
    r"(?:mistral-small(?:-latest|-2603|-4.*)?|mistral-medium(?:-latest|-2604|-3|-3[-.]5)?"
    r"|magistral-.+)"
)
_LARGE: Final = re.compile(r"mistral-large-(?:[4-9]|\d\d)(?!\d)")
# Their tokenizer (v3 and before) has no place for both.
_EITHER_TEXT_OR_CALLS: Final = re.compile(
    r"(?:open-mistral|open-mixtral|mistral-tiny|mistral-nemo|pixtral-12b)"
)


def faults(body: Mapping[str, Any]) -> list[str]:
    """Return a sentence for every rule that a request's body breaks; empty if it is accepted."""
    of_schema = record_faults(body, CHAT, required=("model", "messages"))
    if of_schema:
        return of_schema
    return [
        *_sampling_faults(body),
        *_effort_faults(body),
        *_format_faults(body),
        *(fault for tool in body.get("tools") or () for fault in _tool_faults(tool)),
        *_order_faults(body["messages"]),
        *_content_faults(body),
        *_call_faults(body["messages"]),
        *_result_faults(body["messages"]),
    ]


def embeddings_faults(body: Mapping[str, Any]) -> list[str]:
    """Return a sentence for every rule that a request for embeddings breaks.

    https://github.com/garrytan/gbrain/pull/3001 (mistral-embed has one size),
    https://docs.mistral.ai/studio-api/knowledge-rag/embeddings/code_embeddings (at most 3,072)
    """
    found = record_faults(body, EMBEDDINGS, required=("model", "input"))
    size = body.get("output_dimension")
    if found or size is None:
        return found
    if body["model"].startswith("mistral-embed"):
        return ["mistral-embed does not take output_dimension"]
    return ["output_dimension must be at most 3072"] if size > 3072 else []


def _sampling_faults(body: Mapping[str, Any]) -> list[str]:
    """https://github.com/devoxx/DevoxxGenieIDEAPlugin/issues/338"""
    if body.get("temperature") == 0 and body.get("top_p") not in (None, 1):
        return ["top_p must be 1 with a temperature of 0"]
    return []


def _effort_faults(body: Mapping[str, Any]) -> list[str]:
    """An effort, of single models only; no prompt_mode.

    https://docs.mistral.ai/inference/conversations/reasoning (models),
    https://github.com/withceleste/celeste-python/pull/311 (none and high; the others are refused),
    https://github.com/dust-tt/dust/pull/27613 (Large 3: refused, "not enabled for this model"),
    https://github.com/dimetron/pi-go/pull/245 (prompt_mode, on every model).
    Magistral is served by Medium 3.5 and Small 4: https://github.com/UKGovernmentBEIS/inspect_ai/pull/4711.
    Which values besides low, medium and high Large 4 takes is not certain.
    """
    effort, model = body.get("reasoning_effort"), str(body["model"])
    found = ["prompt_mode is not enabled for any model"] if body.get("prompt_mode") else []
    if effort is None or _LARGE.match(model):
        return found
    if not _ADJUSTABLE.fullmatch(model):
        return [*found, f"reasoning_effort is not enabled for {model}"]
    if effort not in ("none", "high"):
        return [*found, f"reasoning_effort of {model} must be none or high"]
    return found


def _format_faults(body: Mapping[str, Any]) -> list[str]:
    given = body.get("response_format") or {}
    if given.get("type") == "json_schema" and given.get("json_schema") is None:
        return ["response_format.json_schema is missing"]
    return []


def _tool_faults(tool: Mapping[str, Any]) -> list[str]:
    """The tool's name, and a valid schema.

    https://github.com/Kochava-Studios/witsy/pull/164 (name),
    https://github.com/SylphxAI/pdf-reader-mcp/issues/63 ("Invalid tool schema", draft 7),
    https://github.com/BerriAI/litellm/pull/13389 ($id and $schema)
    """
    if tool.get("type", "function") != "function":
        return []
    function = tool["function"]
    found = _name_faults(function["name"])
    schema = function["parameters"]
    if not jsonschema_rs.meta.is_valid({**schema, "$schema": _DRAFT}):
        found.append(f"Invalid tool schema of {function['name']}")
    return [*found, *(f"A tool schema must not have {name}" for name in _identities(schema))]


def _identities(schema: object) -> Iterator[str]:
    """Yield `$id` and `$schema` wherever they are keywords."""
    if isinstance(schema, list):
        for each in schema:
            yield from _identities(each)
    if not isinstance(schema, Mapping):
        return
    for name, value in schema.items():
        if name in ("$id", "$schema"):
            yield name
        elif name in _NAMED_BY_CALLER and isinstance(value, Mapping):
            yield from _identities(list(value.values()))
        elif name not in ("enum", "const", "default", "examples"):
            yield from _identities(value)


def _name_faults(name: object) -> list[str]:
    if _NAME.fullmatch(str(name)):
        return []
    return [f"Function name was {name} but must be a-z, A-Z, 0-9, _ and -, at most 64"]


def _order_faults(messages: list[Mapping[str, Any]]) -> list[str]:
    """The first, the next and the last role.

    https://github.com/huggingface/smolagents/issues/757 (last role),
    https://github.com/swarmauri/swarmauri-sdk/issues/162 (no system after an assistant),
    https://github.com/charmbracelet/crush/issues/279 (no tool after a user).
    Whether a system message may be the last of several is not certain.
    """
    roles = [message["role"] for message in messages]
    if not roles:
        return ["Conversation must have at least one message"]
    found = []
    if len(roles) == 1 and roles[0] not in _FIRST:
        found.append("Conversation must start with a user message or system message")
    found += [
        f"Unexpected role {role} after role {previous}"
        for previous, role in pairwise(roles)
        if role not in _FOLLOWS[previous]
    ]
    if roles[-1] == "assistant" and not messages[-1].get("prefix"):
        found.append("Expected last role user or tool (or assistant with prefix)")
    if any(message.get("prefix") for message in messages[:-1]):
        found.append("Assistant message with prefix must be the last message")
    return found


def _content_faults(body: Mapping[str, Any]) -> list[str]:
    """An assistant says or calls something.

    https://github.com/OpenHands/OpenHands/issues/8685 ("but not none"),
    https://github.com/langchain-ai/langchain/issues/21196 ("but not both", of older models; a
    report on newer ones, https://github.com/github/copilot-cli/issues/4884, does not show why)
    """
    is_either = _EITHER_TEXT_OR_CALLS.match(body["model"]) is not None
    found = []
    for message in body["messages"]:
        says, calls = bool(message.get("content")), bool(message.get("tool_calls"))
        if message["role"] == "assistant" and not (says or calls):
            found.append("Assistant message must have either content or tool_calls, but not none")
        if is_either and says and calls:
            found.append("Assistant message must have either content or tool_calls, but not both")
    return found


def _call_faults(messages: list[Mapping[str, Any]]) -> list[str]:
    """Names and ids of calls and results.

    https://github.com/anomalyco/opencode/issues/1680 (ids of nine letters and digits),
    https://github.com/langchain-ai/langchain/pull/33648 (ids in one message differ)
    """
    found = []
    ids: list[object] = []
    for message in messages:
        calls = message.get("tool_calls") or ()
        of_calls = [call.get("id", "null") for call in calls]
        ids += of_calls
        found += [fault for call in calls for fault in _name_faults(call["function"]["name"])]
        if len(set(of_calls)) < len(of_calls):
            found.append("Duplicate tool call id in assistant message")
        if message["role"] == "tool":
            ids.append(message.get("tool_call_id"))
            if message.get("name") is not None:
                found += _name_faults(message["name"])
    bad = [each for each in ids if not _CALL_ID.fullmatch(str(each))]
    return [*found, *(f"Tool call id was {each} but must be a-z, A-Z, 0-9, nine" for each in bad)]


def _result_faults(messages: list[Mapping[str, Any]]) -> list[str]:
    """Each call has one result before the assistant speaks again.

    https://github.com/NousResearch/hermes-agent/pull/11722
    """
    found: list[str] = []
    waiting: set[object] = set()
    for message in messages:
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                found.append("Unexpected or duplicate tool call id in tool results")
            waiting.discard(message.get("tool_call_id"))
        elif message["role"] == "assistant":
            if waiting:
                found.append("Not the same number of function calls and responses")
            waiting = {call.get("id", "null") for call in message.get("tool_calls") or ()}
    return [*found, "Not the same number of function calls and responses"] if waiting else found
