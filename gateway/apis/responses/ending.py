"""End a stream of a response with `response.incomplete`, for the reason `max_output_tokens`.

Clients collect the items that are done, so an open one is done too, as far as it has come.
https://developers.openai.com/api/reference/resources/responses/streaming-events
"""

from __future__ import annotations

from typing import Any, Final

from gateway.apis.endings import Value
from gateway.upstream import untrusted_json

# Of an answer's text; a longer one ends without repeating its items.
KEPT_MAX_CHARS: Final = 128 * 1024
# The deltas of what an item, or a part of it, has as text, with the event that has it whole.
_TEXTS: Final = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.function_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
}
_OF_PART: Final = frozenset({"text", "refusal"})
_PLACE: Final = ("item_id", "output_index", "content_index")


class ResponsesEnding:
    """The ending of a response: its items, and their parts, come one after the other."""

    after = b""

    def __init__(self) -> None:
        self._response: Value = {}
        self._number = 0
        self._items: list[Value] = []
        self._added: Value | None = None
        self._part: Value | None = None
        self._parts: list[Value] = []
        self._place: Value = {}
        self._kind = ""
        self._texts: list[str] = []
        self._kept_chars = 0

    def follow(self, event: Value) -> None:
        """Read one event."""
        number = event.get("sequence_number")
        self._number = number if type(number) is int else self._number
        kind = untrusted_json.text(event.get("type"))
        if kind in _TEXTS:
            self._add(kind, event)
        elif kind == "response.output_item.added":
            self._begin(untrusted_json.mapping(event.get("item")), event)
        elif kind == "response.content_part.added":
            self._part, self._texts = untrusted_json.mapping(event.get("part")), []
            self._place = event
        elif kind == "response.content_part.done":
            self._parts.append(untrusted_json.mapping(event.get("part")))
            self._part, self._texts = None, []
        elif kind == "response.output_item.done":
            self._added = self._part = None
            if self._is_kept:
                self._items.append(untrusted_json.mapping(event.get("item")))
        elif isinstance(event.get("response"), dict):
            self._response = event["response"]

    @property
    def _is_kept(self) -> bool:
        return self._kept_chars <= KEPT_MAX_CHARS

    def _begin(self, item: Value, event: Value) -> None:
        self._added, self._place, self._kind = item, event, ""
        self._part, self._parts, self._texts = None, [], []

    def _add(self, kind: str, event: Value) -> None:
        text = untrusted_json.text(event.get("delta"))
        self._kind, self._place = kind, event
        self._kept_chars += len(text)
        if self._is_kept:
            self._texts.append(text)
        else:
            self._texts, self._parts, self._items = [], [], []

    def events(self, *, input_tokens: int, output_tokens: int) -> list[Value]:
        """Return the end of an open item, and that of the response."""
        is_open = self._added is not None and self._is_kept
        ended = self._item_ended(self._added or {}) if is_open else []
        ended.append(
            {
                "type": "response.incomplete",
                "response": {
                    **self._response,
                    "status": "incomplete",
                    "incomplete_details": {"reason": "max_output_tokens"},
                    "output": self._items,
                    "usage": _usage(input_tokens, output_tokens),
                },
            }
        )
        return [
            {**event, "sequence_number": number}
            for number, event in enumerate(ended, self._number + 1)
        ]

    def _item_ended(self, item: Value) -> list[dict[str, Any]]:
        """Return the events that end an item, which is one of the response's from now on."""
        name, text = _TEXTS.get(self._kind, ""), "".join(self._texts)
        place = {key: self._place[key] for key in _PLACE if key in self._place}
        ended: list[dict[str, Any]] = []
        if name and (self._part is not None or name not in _OF_PART):
            kind = self._kind.removesuffix("delta") + "done"
            more: dict[str, Any] = {"logprobs": []} if name == "text" else {}
            more |= {"name": item.get("name")} if name == "arguments" else {}
            ended.append({"type": kind, **place, name: text, **more})
        if self._part is not None:
            part = {**self._part, **({name: text} if name in _OF_PART else {})}
            self._parts.append(part)
            ended.append({"type": "response.content_part.done", **place, "part": part})
        elif name and name not in _OF_PART:
            item = {**item, name: text}
        if "content" in item:
            item = {**item, "content": self._parts}
        item = {**item, "status": "incomplete"}
        self._items.append(item)
        index = self._place.get("output_index")
        done = {"type": "response.output_item.done", "output_index": index, "item": item}
        return [*ended, done]


def _usage(input_tokens: int, output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input_tokens + output_tokens,
    }
