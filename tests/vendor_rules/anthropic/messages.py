"""Rules of the turns and content blocks of a request to Anthropic's messages API.

https://platform.claude.com/docs/en/api/messages/create,
https://platform.claude.com/docs/en/build-with-claude/working-with-messages
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.vendor_rules.anthropic.shapes import (
    CACHE,
    Claude,
    Shape,
    either,
    is_flag,
    is_list,
    is_object,
    is_text,
    nullable,
    one_of,
    shape_faults,
)

Body = Mapping[str, Any]
Block = Mapping[str, Any]

MESSAGES_MAX: Final = 100_000
# https://platform.claude.com/docs/en/build-with-claude/vision#request-limits
IMAGES_MAX: Final = 600
IMAGES_MAX_SMALL_CONTEXT: Final = 100
IMAGE_MAX_BASE64_CHARS: Final = 10 * 1024 * 1024

_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_title(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 500


_BLOCKS: Final[Mapping[str, tuple[Shape, Shape]]] = {
    "text": ({"text": is_text}, {**CACHE, "citations": nullable(is_list)}),
    "image": ({"source": is_object}, {**CACHE, "transformations": nullable(is_object)}),
    "document": (
        {"source": is_object},
        {
            **CACHE,
            "title": nullable(_is_title),
            "context": nullable(lambda value: is_text(value) and value != ""),
            "citations": nullable(is_object),
        },
    ),
    "search_result": (
        {"content": is_list, "source": is_text, "title": is_text},
        {**CACHE, "citations": is_object},
    ),
    # No cache_control:
    # https://platform.claude.com/docs/en/build-with-claude/prompt-caching#what-cannot-be-cached
    "thinking": ({"thinking": is_text, "signature": is_text}, {}),
    "redacted_thinking": ({"data": is_text}, {}),
    "tool_use": (
        {
            "id": _is_id,
            "name": lambda value: is_text(value) and 1 <= len(value) <= 200,
            "input": is_object,
        },
        CACHE,
    ),
    "tool_result": (
        {"tool_use_id": _is_id},
        {**CACHE, "content": either(is_text, is_list), "is_error": is_flag},
    ),
}
# The document's types allow every block to every role; that an assistant's images are rejected is
# not documented.
_KINDS: Final[Mapping[str, frozenset[str]]] = {
    "user": frozenset(_BLOCKS) - {"tool_use", "thinking", "redacted_thinking"},
    "assistant": frozenset(_BLOCKS) - {"tool_result"},
    "system": frozenset({"text"}),
    # https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls
    "tool_result": frozenset({"text", "image", "document", "search_result"}),
}
_IMAGE_TYPES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
_SOURCES: Final[Mapping[str, Mapping[str, Shape]]] = {
    "image": {
        "base64": {"media_type": one_of(*_IMAGE_TYPES), "data": lambda value: _is_base64(value)},
        "url": {"url": is_text},
        "file": {"file_id": is_text},
    },
    "document": {
        "base64": {
            "media_type": one_of("application/pdf"),
            "data": lambda value: _is_base64(value),
        },
        "text": {"media_type": one_of("text/plain"), "data": is_text},
        "content": {"content": either(is_text, is_list)},
        "url": {"url": is_text},
        "file": {"file_id": is_text},
    },
}


def _is_base64(value: object) -> bool:
    try:
        return isinstance(value, str) and base64.b64decode(value, validate=True) != b""
    except (binascii.Error, ValueError):
        return False


# --- shapes -----------------------------------------------------------------------------------


def message_shape_faults(body: Body) -> Iterator[str]:
    """Yield faults in the shapes of system, messages and blocks."""
    system = body.get("system")
    if isinstance(system, list):
        for index, block in enumerate(system):
            yield from _block_faults(block, f"system.{index}", _KINDS["system"])
    for index, message in enumerate(body["messages"]):
        where = f"messages.{index}"
        required: Shape = {
            "role": one_of("user", "assistant", "system"),
            "content": either(is_text, is_list),
        }
        found = [*shape_faults(message, where, required)]
        yield from found
        if not found and isinstance(message["content"], list):
            for place, block in enumerate(message["content"]):
                yield from _block_faults(block, f"{where}.content.{place}", _KINDS[message["role"]])


def _block_faults(block: object, where: str, kinds: frozenset[str]) -> Iterator[str]:
    kind = block.get("type") if isinstance(block, Mapping) else None
    if not isinstance(block, Mapping) or not isinstance(kind, str) or kind not in kinds:
        yield f"{where}.type must be one of {', '.join(sorted(kinds))}"
        return
    required, optional = _BLOCKS[kind]
    found = [*shape_faults(block, where, {"type": is_text, **required}, optional)]
    yield from found
    if found:
        return
    if kind in _SOURCES:
        yield from _source_faults(block["source"], f"{where}.source", _SOURCES[kind])
    inner = block.get("content") if kind == "tool_result" else None
    for place, part in enumerate(inner if isinstance(inner, list) else []):
        yield from _block_faults(part, f"{where}.content.{place}", _KINDS["tool_result"])


def _source_faults(source: Block, where: str, kinds: Mapping[str, Shape]) -> Iterator[str]:
    kind = source.get("type")
    if not isinstance(kind, str) or kind not in kinds:
        yield f"{where}.type must be one of {', '.join(kinds)}"
        return
    yield from shape_faults(source, where, {"type": is_text, **kinds[kind]})


# --- rules ------------------------------------------------------------------------------------


def message_faults(body: Body, claude: Claude, *, is_newest: bool) -> Iterator[str]:
    """Yield faults of the turns of a body whose shapes are right."""
    messages = body["messages"]
    if not messages:
        # https://github.com/langchain-ai/langchain/issues/30764: only system messages
        yield "messages: at least one message is required"
        return
    if len(messages) > MESSAGES_MAX:
        yield f"messages must have at most {MESSAGES_MAX} messages"
    # The first turn may be the assistant's, and roles need not alternate:
    # https://platform.claude.com/docs/en/release-notes/overview (October 8, 2024)
    yield from _text_faults(body)
    yield from _system_turn_faults(messages, claude)
    yield from _prefill_faults(body, claude)
    yield from _tool_turn_faults(body)
    yield from _image_faults(body, claude)
    if is_newest:
        yield from _newest_faults(messages)


def blocks_of(message: Block) -> list[Block]:
    """Return the blocks of a message; a string is one block of text."""
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def blocks_in(body: Body) -> list[Block]:
    """Return the blocks of system and messages in order, with those of tool results."""
    system = body.get("system", [])
    found: list[Block] = [] if isinstance(system, str) else [*system]
    for message in body["messages"]:
        for block in blocks_of(message):
            inner = block.get("content")
            found += [*(inner if isinstance(inner, list) else []), block]
    return found


def _text_faults(body: Body) -> Iterator[str]:
    """Yield blank texts and empty messages.

    "text content blocks must be non-empty", "... must contain non-whitespace text" and "all
    messages must have non-empty content except for the optional final assistant message":
    https://github.com/home-assistant/core/issues/175637,
    https://github.com/anthropics/claude-code/issues/59812. An empty string as the system prompt,
    and a blank string as a tool's result, are not known to be rejected.
    """
    system = body.get("system", "")
    if isinstance(system, str) and system and not system.strip():
        yield "system: text content blocks must contain non-whitespace text"
    if not isinstance(system, str):
        yield from _blank_faults(system, "system")
    last = len(body["messages"]) - 1
    for index, message in enumerate(body["messages"]):
        content = message["content"]
        if not content:
            if index != last or message["role"] != "assistant":
                yield f"messages.{index}: all messages must have non-empty content"
            continue
        yield from _blank_faults(blocks_of(message), f"messages.{index}")


def _blank_faults(blocks: list[Block], where: str) -> Iterator[str]:
    for place, block in enumerate(blocks):
        if block["type"] == "text" and not block["text"].strip():
            yield f"{where}.content.{place}: text content blocks must contain non-whitespace text"
        inner = block.get("content")
        for part in inner if isinstance(inner, list) else []:
            if part["type"] == "text" and part["text"] == "":
                yield f"{where}.content.{place}: text content blocks must be non-empty"


def _system_turn_faults(messages: list[Block], claude: Claude) -> Iterator[str]:
    """Yield system messages of models without them, and in wrong places.

    https://platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages: from
    Opus 4.8, Fable 5 and Mythos 5 on, not for Sonnet 5. Of Sonnet 5.5 and Haiku 5.5 nothing is
    documented, so they are accepted.
    """
    roles = [message["role"] for message in messages]
    if "system" not in roles:
        return
    if claude.is_before(4, 8) or claude.name == "claude-sonnet-5":
        yield 'messages: unexpected role "system"'
    for index, role in enumerate(roles):
        if role != "system":
            continue
        before = next((each for each in reversed(roles[:index]) if each != "system"), None)
        after = next((each for each in roles[index:] if each != "system"), "assistant")
        if before != "user" or after != "assistant":
            yield f"messages.{index}: a system message must follow a user turn and end it"


def _prefill_faults(body: Body, claude: Claude) -> Iterator[str]:
    """Yield faults of a last turn that the model shall continue.

    https://platform.claude.com/docs/en/api/errors#prefill-not-supported,
    https://platform.claude.com/docs/en/build-with-claude/thinking#limits-and-feature-compatibility.
    With an output format it is "incompatible"; whether it is rejected is not documented.
    """
    thinking = body.get("thinking", {}).get("type")
    turns = _turns(body["messages"])
    if thinking == "enabled":
        # "Expected `thinking` or `redacted_thinking`, but found `tool_use`":
        # https://github.com/openai/openai-agents-python/issues/1704
        own = next((blocks for role, blocks in reversed(turns) if role == "assistant"), [])
        is_open = turns[-1][0] == "assistant" or any(
            block["type"] == "tool_result" for block in turns[-1][1]
        )
        if is_open and own and own[0]["type"] not in ("thinking", "redacted_thinking"):
            yield "a final assistant message must start with a thinking block"
    role, blocks = turns[-1]
    if role != "assistant":
        return
    if claude.generation >= (4, 6):
        yield "This model does not support assistant message prefill"
    elif (
        blocks
        and blocks[-1]["type"] == "text"
        and blocks[-1]["text"] != (blocks[-1]["text"].rstrip())
    ):
        yield "messages: final assistant content cannot end with trailing whitespace"


def _turns(messages: list[Block]) -> list[tuple[str, list[Block]]]:
    """Return the turns: consecutive messages of one role are one turn."""
    turns: list[tuple[str, list[Block]]] = []
    for message in messages:
        if not turns or turns[-1][0] != message["role"]:
            turns.append((message["role"], []))
        turns[-1][1].extend(blocks_of(message))
    return turns


def _tool_turn_faults(body: Body) -> Iterator[str]:
    """Yield tool calls and results that do not belong together.

    https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls,
    https://github.com/BerriAI/litellm/issues/23510 (unique ids). "Requests which include `tool_use`
    or `tool_result` blocks must define tools" is of older reports; it may no longer be so.
    """
    seen: set[str] = set()
    open_ids: set[str] = set()
    turns = _turns(body["messages"])
    if not body.get("tools") and any(
        block["type"] in ("tool_use", "tool_result") for _, blocks in turns for block in blocks
    ):
        yield "requests which include tool_use or tool_result blocks must define tools"
    for role, blocks in [*turns, ("end", [])]:
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        kinds = [block["type"] == "tool_result" for block in blocks]
        if kinds != sorted(kinds, reverse=True):
            yield "tool_result blocks must come first in the content"
        if missing := open_ids - set(results):
            yield f"tool_use ids without tool_result blocks immediately after: {sorted(missing)}"
        if unexpected := set(results) - open_ids:
            yield f"unexpected tool_use_id found in tool_result blocks: {sorted(unexpected)}"
        if len(results) > len(set(results)):
            yield "each tool_use must have a single result"
        open_ids = set()
        for block in blocks if role == "assistant" else []:
            if block["type"] == "tool_use":
                if block["id"] in seen:
                    yield f"tool_use ids must be unique: {block['id']}"
                seen.add(block["id"])
                open_ids.add(block["id"])


def _image_faults(body: Body, claude: Claude) -> Iterator[str]:
    """Yield too many and too large images; their pixels are not looked at."""
    images = [block for block in blocks_in(body) if block["type"] == "image"]
    # Sonnet 4 and 4.5 had both contexts.
    is_small = claude.is_before(4) or (claude.is_before(4, 6) and claude.family != "sonnet")
    most = IMAGES_MAX_SMALL_CONTEXT if is_small else IMAGES_MAX
    if len(images) > most:
        yield f"a request must have at most {most} images"
    for image in images:
        if len(image["source"].get("data", "")) > IMAGE_MAX_BASE64_CHARS:
            yield "an image exceeds 10 MB in base64"


def _newest_faults(messages: list[Block]) -> Iterator[str]:
    """Yield what version 2026-10-21 rejects.

    https://platform.claude.com/docs/en/api/versioning
    """
    for index, message in enumerate(messages):
        for block in blocks_of(message):
            if message["role"] == "assistant" and block["type"] == "document":
                yield f"messages.{index}: document blocks are not permitted in assistant messages"
            if message["role"] == "user" and block["type"] == "text" and block.get("citations"):
                yield f"messages.{index}: citations are not permitted in user messages"
