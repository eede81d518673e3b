"""Parse OpenAI's responses, plain and streamed: finish reason and usage.

https://developers.openai.com/api/reference/resources/responses
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from costs.core.usage import Usage
from gateway.apis import cache_writes
from gateway.apis.responses.tools import asks_for_preview
from gateway.core.calls import Completion
from gateway.core.kept import GIVEN_MAX, GivenId, KeptKind
from gateway.core.seen import SeenOutput, all_text
from gateway.upstream import untrusted_json

_STANDARD_TIERS: Final = frozenset({"default", "on_demand"})  # Groq's, as of chat
# The events that contain the finished response with its usage.
ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
# The events that contain an id for the first time.
_NAMING: Final = frozenset(
    {"response.created", "response.output_item.added", "response.output_item.done", *ENDS}
)
_TOOL_CALLS: Final = frozenset({"function_call", "custom_tool_call"})
# Items after which the provider reads the whole context once more; the client runs other tools, and
# requests with other tools of the provider are refused.
_READ_AGAIN: Final = frozenset({"compaction", "tool_search_call", "web_search_call"})
# Fields of an item that are not output.
_NO_OUTPUT: Final = frozenset({"id", "call_id", "type", "status", "role", "execution"})
_SEARCHES: Final = (None, "search")
_CUT: Final = {"max_output_tokens": "length"}


def usage_from(response: Mapping[str, Any], *, by_preview: bool = False) -> Usage | None:
    """Return a response's reported usage, or None.

    The input's count includes what was read from and written to the cache; the output's includes
    reasoning. The tier is the response's, not the request's. `by_preview` says that the request's
    search tool was the earlier one; a response repeats the request's tools.
    """
    return untrusted_json.usable(
        response.get("usage"), lambda usage: _usage(usage, response, by_preview)
    )


def _usage(usage: Mapping[str, Any], response: Mapping[str, Any], by_preview: bool) -> Usage:
    read = untrusted_json.details(usage, "input_tokens_details")
    output = untrusted_json.details(usage, "output_tokens_details")
    cached = untrusted_json.part(read, "cached_tokens")
    written = cache_writes.by_openai(read)
    searches = _searches(response)
    by_preview = bool(searches) and (by_preview or asks_for_preview(response))
    reasoning = untrusted_json.part(output, "reasoning_tokens")
    total = usage.get("total_tokens")
    return Usage(
        input_uncached=untrusted_json.count(usage, "input_tokens") - cached - sum(written.values()),
        cache_read=cached,
        **written,
        output_text=untrusted_json.count(usage, "output_tokens") - reasoning,
        output_reasoning=reasoning,
        web_searches=0 if by_preview else searches,
        web_search_previews=searches if by_preview else 0,
        service_tier=untrusted_json.tier(response.get("service_tier"), standard=_STANDARD_TIERS),
        reported_total=None if total is None else untrusted_json.count(usage, "total_tokens"),
    )


def _searches(response: Mapping[str, Any]) -> int:
    """Return the searches that have a fee: opening a page and finding text in it have none.

    A call without an action, as they were in 2025, is a search.
    """
    items = map(untrusted_json.mapping, untrusted_json.items(response.get("output")))
    actions = (item.get("action") for item in items if item.get("type") == "web_search_call")
    kinds = [untrusted_json.mapping(action).get("type") for action in actions]
    return sum(kind in _SEARCHES for kind in kinds)


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


def completion_from(report: object, *, model: str, by_preview: bool = False) -> Completion:
    """Parse a whole response. Raises ErrorAnswer for an error with a success status.

    A response that failed while it was generated is not such an error: it reports its usage.
    """
    response = untrusted_json.mapping(report)
    if response.get("object") != "response":
        untrusted_json.raise_for_error(response)
    return Completion(
        model=untrusted_json.model_named(response.get("model"), requested=model),
        finish_reason=finish_reason_from(response),
        usage=usage_from(response, by_preview=by_preview),
        raw_usage=untrusted_json.raw(response.get("usage")),
        given=(*_response_id(response), *item_ids(response.get("output"))),
    )


def _response_id(response: Mapping[str, Any]) -> list[GivenId]:
    id_ = untrusted_json.text(response.get("id"))
    return [GivenId(id_, KeptKind.RESPONSE)] if id_ else []


def item_ids(items: object) -> list[GivenId]:
    """Return the ids of a list of items."""
    ids = (untrusted_json.mapping(item).get("id") for item in untrusted_json.items(items))
    return [GivenId(id_) for id_ in map(untrusted_json.text, ids) if id_]


def _see_item(item: Mapping[str, Any], seen: SeenOutput) -> None:
    """Record that an item begins; one that has no deltas is shown when it is complete."""
    kind = untrusted_json.text(item.get("type"))
    if kind == "reasoning":
        seen.hide(True)
    elif kind != "message":
        seen.text.add(all_text(item, _NO_OUTPUT))
        seen.in_bursts = kind not in _TOOL_CALLS
        seen.searches += kind == "web_search_call"
        seen.tool_uses += kind in _READ_AGAIN and item.get("execution") != "client"


@dataclass(slots=True)
class ResponsesStreamReader:
    """Parse a stream of events, of which the last one has the whole response."""

    model: str
    by_preview: bool = False
    _last: Mapping[str, Any] = field(default_factory=dict)
    _has_ended: bool = False
    _given: set[str] = field(default_factory=set)

    def see(self, event: object, seen: SeenOutput) -> None:
        """Record the output of one event. Of reasoning at most a summary is shown."""
        body = untrusted_json.mapping(event)
        kind = untrusted_json.text(body.get("type"))
        item = untrusted_json.mapping(body.get("item"))
        response = untrusted_json.mapping(body.get("response"))
        seen.shows_tools = True
        if kind in _NAMING:
            items = item_ids([item, *untrusted_json.items(response.get("output"))])
            self._give([*_response_id(response), *items], seen)
        if kind.endswith(".delta"):
            shown = seen.thoughts if "reasoning" in kind else seen.text
            shown.add(untrusted_json.text(body.get("delta")))
            seen.in_bursts = False
        elif kind == "response.output_item.added":
            _see_item(item, seen)
        elif kind == "response.output_item.done":
            seen.hide(False)
            if seen.in_bursts:
                seen.text.add(all_text(item, _NO_OUTPUT))
                seen.in_bursts = False
        elif kind in ENDS:
            seen.end()
            seen.report(usage_from(response))

    def _give(self, ids: Iterable[GivenId], seen: SeenOutput) -> None:
        """Record ids, each once."""
        room = GIVEN_MAX - len(self._given)
        new = [each for each in ids if each.id not in self._given][:room]
        self._given |= {each.id for each in new}
        seen.given += new

    def feed(self, event: object) -> str:
        """Parse one event; its text is not needed."""
        body = untrusted_json.mapping(event)
        untrusted_json.raise_for_error(body)
        response = untrusted_json.mapping(body.get("response"))
        if untrusted_json.text(body.get("type")) in ENDS:
            self._has_ended = True
            self._last = response
        elif response and not self._has_ended:
            self._last = response
        return ""

    def completion(self) -> Completion:
        """Return the answer so far: without its last event, only its model."""
        report = {**self._last, "object": "response"}
        known = completion_from(report, model=self.model, by_preview=self.by_preview)
        if self._has_ended:
            return known
        return Completion(model=known.model, finish_reason=None, usage=None)
