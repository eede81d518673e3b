"""Parse OpenAI's responses, plain and streamed: finish reason and usage.

https://developers.openai.com/api/reference/resources/responses
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from costs.core.usage import Usage
from gateway.core.calls import Completion
from gateway.core.seen import SeenOutput, texts_of
from gateway.upstream import untrusted_json

_STANDARD_TIERS: Final = frozenset({"default"})
# The events that contain the finished response with its usage.
ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_TOOL_CALLS: Final = frozenset({"function_call", "custom_tool_call"})
_CUT: Final = {"max_output_tokens": "length"}


def usage_from(response: Mapping[str, Any]) -> Usage | None:
    """Return a response's reported usage, or None.

    The input's count includes what was read from and written to the cache; the output's includes
    reasoning. The tier is the response's, not the request's.
    """
    return untrusted_json.usable(response.get("usage"), lambda usage: _usage(usage, response))


def _usage(usage: Mapping[str, Any], response: Mapping[str, Any]) -> Usage:
    read = untrusted_json.details(usage, "input_tokens_details")
    output = untrusted_json.details(usage, "output_tokens_details")
    cached = untrusted_json.part(read, "cached_tokens")
    written = untrusted_json.part(read, "cache_write_tokens")
    # A cache of 12 hours is priced like the longest cache of any vendor.
    kept = untrusted_json.part(
        untrusted_json.details(read, "cache_write_tokens_details"), "ttl_12h_tokens"
    )
    reasoning = untrusted_json.part(output, "reasoning_tokens")
    total = usage.get("total_tokens")
    return Usage(
        input_uncached=untrusted_json.count(usage, "input_tokens") - cached - written,
        cache_read=cached,
        cache_write_5m=written - kept,
        cache_write_1h=kept,
        output_text=untrusted_json.count(usage, "output_tokens") - reasoning,
        output_reasoning=reasoning,
        web_searches=_kinds(response).count("web_search_call"),
        service_tier=untrusted_json.tier(response.get("service_tier"), standard=_STANDARD_TIERS),
        reported_total=None if total is None else untrusted_json.count(usage, "total_tokens"),
    )


def finish_reason_from(response: Mapping[str, Any]) -> str | None:
    """Return the finish reason, with chat completions' name if they have one."""
    status = untrusted_json.word(response.get("status"))
    if status == "completed":
        return "tool_calls" if _TOOL_CALLS.intersection(_kinds(response)) else "stop"
    if status == "incomplete":
        details = untrusted_json.mapping(response.get("incomplete_details"))
        reason = untrusted_json.word(details.get("reason")) or status
        return _CUT.get(reason, reason)
    return status


def _kinds(response: Mapping[str, Any]) -> list[str]:
    """Return the types of the items of output."""
    items = untrusted_json.items(response.get("output"))
    return [untrusted_json.text(untrusted_json.mapping(item).get("type")) for item in items]


def completion_from(report: object, *, model: str) -> Completion:
    """Parse a whole response. Raises ErrorAnswer for an error with a success status.

    A response that failed while it was generated is not such an error: it reports its usage.
    """
    response = untrusted_json.mapping(report)
    if response.get("object") != "response":
        untrusted_json.raise_for_error(response)
    return Completion(
        model=untrusted_json.model_named(response.get("model"), requested=model),
        finish_reason=finish_reason_from(response),
        usage=usage_from(response),
        raw_usage=untrusted_json.raw(response.get("usage")),
    )


def _see_item(item: Mapping[str, Any], seen: SeenOutput) -> None:
    """Record that an item begins; calls that have no deltas are shown when they are complete."""
    kind = untrusted_json.text(item.get("type"))
    if kind == "reasoning":
        seen.hide(True)
    elif kind in _TOOL_CALLS:
        seen.text.add(untrusted_json.text(item.get("name")))
    elif kind != "message":
        seen.in_bursts = True
        seen.tool_uses += 1
        seen.searches += kind == "web_search_call"


@dataclass(slots=True)
class ResponsesStreamReader:
    """Parse a stream of events, of which the last one has the whole response."""

    model: str
    _last: Mapping[str, Any] = field(default_factory=dict)
    _has_ended: bool = False

    def see(self, event: object, seen: SeenOutput) -> None:
        """Record the output of one event. Of reasoning at most a summary is shown."""
        body = untrusted_json.mapping(event)
        kind = untrusted_json.text(body.get("type"))
        item = untrusted_json.mapping(body.get("item"))
        seen.shows_tools = True
        if kind.endswith(".delta"):
            shown = seen.thoughts if "reasoning" in kind else seen.text
            shown.add(untrusted_json.text(body.get("delta")))
        elif kind == "response.output_item.added":
            _see_item(item, seen)
        elif kind == "response.output_item.done":
            seen.hide(False)
            if seen.in_bursts:
                seen.text.add("".join(texts_of(item, {"id", "type", "status"})))
                seen.in_bursts = False
        elif kind in ENDS:
            seen.has_ended = True
            seen.report(usage_from(untrusted_json.mapping(body.get("response"))))

    def feed(self, event: object) -> str:
        """Parse one event; its text is not needed."""
        body = untrusted_json.mapping(event)
        untrusted_json.raise_for_error(body)
        response = untrusted_json.mapping(body.get("response"))
        if body.get("type") in ENDS:
            self._has_ended = True
            self._last = response
        elif response and not self._has_ended:
            self._last = response
        return ""

    def completion(self) -> Completion:
        """Return the answer so far: without its last event, only its model."""
        known = completion_from({**self._last, "object": "response"}, model=self.model)
        if self._has_ended:
            return known
        return Completion(model=known.model, finish_reason=None, usage=None)
