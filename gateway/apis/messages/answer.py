"""Parse Anthropic's messages: content, tool calls, finish reason and usage.

https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from costs.core.usage import STANDARD_TIER, Usage
from gateway.apis import cache_writes
from gateway.core.calls import Completion, Delta, ToolCallDelta
from gateway.core.messages import ToolCall
from gateway.core.seen import SeenOutput, all_text
from gateway.upstream import untrusted_json

_STANDARD_TIERS: Final = frozenset[str]()  # Anthropic uses our name
# Deltas that are no output tokens.
_NO_OUTPUT: Final = frozenset({"signature_delta", "citations_delta"})
# Older models cannot be asked for a place, and say so.
_STANDARD_PLACES: Final = frozenset({"not_available"})
_FINISH_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def usage_from(report: Mapping[str, Any]) -> Usage | None:
    """Return the usage that a message reports, or None.

    The input's count excludes the cache. Output includes thinking, which is separated if the
    message reports it.
    """
    return untrusted_json.usable(report.get("usage"), _usage)


def _usage(usage: Mapping[str, Any]) -> Usage:
    output = untrusted_json.details(usage, "output_tokens_details")
    thinking = untrusted_json.part(output, "thinking_tokens")
    searches = untrusted_json.details(usage, "server_tool_use")
    return Usage(
        input_uncached=untrusted_json.count(usage, "input_tokens"),
        cache_read=untrusted_json.part(usage, "cache_read_input_tokens"),
        **cache_writes.by_anthropic(usage),
        output_text=untrusted_json.count(usage, "output_tokens") - thinking,
        output_reasoning=thinking,
        web_searches=untrusted_json.part(searches, "web_search_requests"),
        service_tier=_tier(usage),
        place=untrusted_json.place(usage.get("inference_geo"), standard=_STANDARD_PLACES),
    )


def _tier(usage: Mapping[str, Any]) -> str:
    """Return the tier; a speed other than the standard one has prices of its own, like a tier."""
    tier = untrusted_json.tier(usage.get("service_tier"), standard=_STANDARD_TIERS)
    speed = untrusted_json.tier(usage.get("speed"), standard=_STANDARD_TIERS)
    if speed == STANDARD_TIER:
        return tier
    return speed if tier == STANDARD_TIER else f"{tier}, {speed}"


def finish_reason_from(value: object) -> str | None:
    """Return the finish reason: stop, length, content_filter, tool_calls or the vendor's own."""
    reason = untrusted_json.word(value)
    return None if reason is None else _FINISH_REASONS.get(reason, reason)


def completion_from(report: object, *, model: str) -> Completion:
    """Parse a whole message. Raises ErrorAnswer for an error with a success status."""
    body = untrusted_json.mapping(report)
    untrusted_json.raise_for_error(body)
    blocks = [untrusted_json.mapping(block) for block in untrusted_json.items(body.get("content"))]
    return Completion(
        model=untrusted_json.model_named(body.get("model"), requested=model),
        content="".join(
            untrusted_json.text(b.get("text")) for b in blocks if b.get("type") == "text"
        ),
        finish_reason=finish_reason_from(body.get("stop_reason")),
        usage=usage_from(body),
        raw_usage=untrusted_json.raw(body.get("usage")),
        tool_calls=tuple(_tool_call(b) for b in blocks if b.get("type") == "tool_use"),
    )


def _tool_call(block: Mapping[str, Any]) -> ToolCall:
    return ToolCall(
        id=untrusted_json.text(block.get("id")),
        name=untrusted_json.text(block.get("name")),
        arguments=untrusted_json.json_text(block.get("input")),
    )


@dataclass(slots=True)
class MessagesStreamReader:
    """Parse a message's events.

    `message_start` has the input, the cache split and the tier; `message_delta` is cumulative, so
    its fields replace earlier ones. Output is known only after a `message_delta`.
    """

    model: str
    _answered: str | None = None
    _finish_reason: str | None = None
    _usage: dict[str, Any] = field(default_factory=dict)
    _counted: bool = False
    _tool_calls: int = 0
    _has_arguments: bool = False

    def see(self, event: object, seen: SeenOutput) -> None:
        """Record the output of one event.

        Of thinking at most a summary is shown; a tool's arguments are sent value by value.
        https://platform.claude.com/docs/en/build-with-claude/streaming
        """
        body = untrusted_json.mapping(event)
        kind = body.get("type")
        seen.shows_tools = True
        if kind == "content_block_delta":
            delta = untrusted_json.mapping(body.get("delta"))
            if thought := untrusted_json.text(delta.get("thinking")):
                seen.thoughts.add(thought)
            elif untrusted_json.text(delta.get("type")) not in _NO_OUTPUT:
                seen.text.add(all_text(delta, {"type"}))
        elif kind == "content_block_start":
            _see_block(untrusted_json.mapping(body.get("content_block")), seen)
        elif kind == "content_block_stop":
            seen.hide(False)
            seen.in_bursts = False
        elif kind == "message_start":
            seen.report(usage_from(untrusted_json.mapping(body.get("message"))))
        elif kind == "message_delta":
            delta = untrusted_json.mapping(body.get("delta"))
            usage = untrusted_json.mapping(body.get("usage"))
            if delta.get("stop_reason") is not None:
                seen.end()
                if "output_tokens" in usage:
                    seen.report(usage_from({"usage": self._usage | _given(usage)}))

    def feed(self, event: object) -> tuple[Delta, ...]:
        """Parse one event and return its deltas."""
        body = untrusted_json.mapping(event)
        untrusted_json.raise_for_error(body)
        kind = body.get("type")
        if kind == "message_start":
            message = untrusted_json.mapping(body.get("message"))
            self._answered = untrusted_json.model_named(message.get("model"), requested=self.model)
            self._usage |= untrusted_json.mapping(message.get("usage"))
        elif kind == "message_delta":
            delta = untrusted_json.mapping(body.get("delta"))
            self._finish_reason = (
                finish_reason_from(delta.get("stop_reason")) or self._finish_reason
            )
            self._count(untrusted_json.mapping(body.get("usage")))
        elif kind == "content_block_start":
            return self._begun(untrusted_json.mapping(body.get("content_block")))
        elif kind == "content_block_delta":
            return self._continued(untrusted_json.mapping(body.get("delta")))
        elif kind == "content_block_stop":
            return self._ended()
        return ()

    def completion(self) -> Completion:
        """Return the answer so far."""
        return Completion(
            model=self._answered or self.model,
            content="",
            finish_reason=self._finish_reason,
            usage=usage_from({"usage": self._usage}) if self._counted else None,
            raw_usage=dict(self._usage) or None,
        )

    def _begun(self, block: Mapping[str, Any]) -> tuple[Delta, ...]:
        kind = block.get("type")
        if kind == "text":
            return _text(block.get("text"))
        if kind != "tool_use":
            return ()
        self._tool_calls += 1
        self._has_arguments = False
        call = _tool_call(block)
        begun = self._called(id=call.id, name=call.name)
        if not block.get("input"):  # the input follows
            return begun
        self._has_arguments = True
        return (*begun, *self._called(arguments=call.arguments))

    def _continued(self, delta: Mapping[str, Any]) -> tuple[Delta, ...]:
        kind = delta.get("type")
        if kind == "text_delta":
            return _text(delta.get("text"))
        written = untrusted_json.text(delta.get("partial_json"))
        if kind != "input_json_delta" or not written or not self._tool_calls:
            return ()
        self._has_arguments = True
        return self._called(arguments=written)

    def _ended(self) -> tuple[Delta, ...]:
        """Complete a tool call without parameters, for which no arguments were sent."""
        if not self._tool_calls or self._has_arguments:
            return ()
        self._has_arguments = True
        return self._called(arguments="{}")

    def _called(self, **piece: str) -> tuple[Delta, ...]:
        return (Delta(tool_call=ToolCallDelta(index=self._tool_calls - 1, **piece)),)

    def _count(self, usage: Mapping[str, Any]) -> None:
        self._usage |= _given(usage)
        self._counted = self._counted or "output_tokens" in usage


def _given(usage: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in usage.items() if value is not None}


def _see_block(block: Mapping[str, Any], seen: SeenOutput) -> None:
    kind = untrusted_json.text(block.get("type"))
    if kind in ("thinking", "redacted_thinking"):
        seen.hide(True)
    elif kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
        seen.in_bursts = True
        seen.text.add(all_text(block, {"type", "id"}))
        if kind == "server_tool_use":
            seen.tool_uses += 1
            seen.searches += block.get("name") == "web_search"
    elif not kind.endswith("_tool_result") and (written := untrusted_json.text(block.get("text"))):
        seen.text.add(written)


def _text(value: object) -> tuple[Delta, ...]:
    text = untrusted_json.text(value)
    return (Delta(text),) if text else ()
