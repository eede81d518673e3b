"""One turn: a client's message as the body of a POST, and the answer to it as messages.

https://developers.openai.com/api/docs/guides/websocket-mode
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from django.http import HttpResponse

from gateway.apis.arrival import fields_of, text_in
from gateway.apis.responses.failed import empty_response
from gateway.apis.responses.usage_bound import items_of
from gateway.core.errors import Refused
from gateway.core.request_body import flag, invalid
from gateway.http.bodies import memory_of
from gateway.http.websocket.conversations import Conversations
from gateway.upstream import untrusted_json
from orgs.core.values import quoted

CREATE: Final = "response.create"
# A notice of some versions of Codex, to which there is no answer.
PROCESSED: Final = "response.processed"
LANE_MAX_CHARS: Final = 128
# What is read from the answer: its items and its end.
_TELLING: Final = re.compile(rb'"response\.(?:output_item\.done|completed|incomplete)"')
_ITEM: Final = "response.output_item.done"
# After these a response can be continued.
_ENDS: Final = ("response.completed", "response.incomplete")
# Of an error's headers: agents show the event as it is to people.
_SHOWN: Final = (
    *("retry-after", "x-should-retry", "x-pulse-error-code", "x-pulse-request-id"),
    "x-codex-promo-message",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A message. `fields` are those of a request's body, `lane` is its stream_id.

    `memory` are the bytes that it takes, if it is large. One that is not `response.create`, or not
    valid, has a refusal.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    lane: str | None = None
    generates: bool = True
    memory: int = 0
    refusal: Refused | None = None

    def body(self, conversations: Conversations) -> bytes:
        """Return the body of a POST. Raises Refused.

        It has the whole conversation if the connection remembers that; another response may be
        stored at the provider, unless the client stores nothing.
        """
        fields = self.fields | {"stream": True}
        items = self._items(conversations)
        if items is not None:
            del fields["previous_response_id"]
            fields["input"] = orjson.Fragment(b"[%b]" % joined(items, self._new_items()))
        elif (previous := self._previous) and fields.get("store") is False:
            raise _not_found(previous)
        return orjson.dumps(fields)

    def conversation(self, conversations: Conversations) -> bytes:
        """Return the items of the whole conversation as JSON, joined by commas. Raises Refused."""
        items = self._items(conversations)
        if items is None and (previous := self._previous):
            raise _not_found(previous)
        return joined(items or b"", self._new_items())

    @property
    def _previous(self) -> str | None:
        return text_in(self.fields, "previous_response_id", "previous_response_id")

    def _items(self, conversations: Conversations) -> bytes | None:
        previous = self._previous
        return conversations.items_of(previous) if previous else None

    def _new_items(self) -> bytes:
        given = self.fields.get("input")
        return b"" if given in (None, []) else items_as_json(self.fields)


def _not_found(response_id: str) -> Refused:
    sentence = (
        f"previous_response_id {quoted(response_id)} is not the last response of this connection; "
        "send the conversation as input"
    )
    return Refused("previous_response_not_found", sentence, status=400)


def turn_in(message: bytes) -> Turn | None:
    """Parse a message; None if it needs no answer. Raises Refused."""
    fields = fields_of(message)
    kind = text_in(fields, "type", "type")
    if kind == PROCESSED:
        return None
    if kind != CREATE:
        named = "missing" if kind is None else quoted(kind)
        raise invalid(f'type must be "{CREATE}", not {named}')
    del fields["type"]
    lane = text_in(fields, "stream_id", "stream_id")
    if lane is not None and len(lane) > LANE_MAX_CHARS:
        raise invalid(f"stream_id must have at most {LANE_MAX_CHARS} characters")
    generates = fields.get("generate") is None or flag(fields, "generate")
    for name in ("stream_id", "generate"):
        fields.pop(name, None)
    return Turn(fields=fields, lane=lane, generates=generates, memory=memory_of(message))


def is_whole(fields: Mapping[str, Any]) -> bool:
    """Whether a body has all of its conversation: nothing of it is stored at the provider."""
    return not (fields.get("previous_response_id") or fields.get("conversation"))


def items_as_json(fields: dict[str, Any]) -> bytes:
    """Return the items of input as JSON, joined by commas. Raises Refused."""
    return orjson.dumps(items_of(fields))[1:-1]


def joined(*lists: bytes) -> bytes:
    """Join lists of JSON items."""
    return b",".join(filter(None, lists))


@dataclass(slots=True)
class ReceivedResponse:
    """What an answer says of itself: its id once it has ended well, and its items as JSON."""

    response_id: str = ""
    items: list[bytes] = field(default_factory=list)

    def take(self, data: bytes) -> bool:
        """Read one event; return whether it is the end of a response that can be continued."""
        if _TELLING.search(data) is None:
            return False
        try:
            event = untrusted_json.mapping(orjson.loads(data))
        except orjson.JSONDecodeError:
            return False
        kind = event.get("type")
        if kind == _ITEM and isinstance(event.get("item"), dict):
            self.items.append(orjson.dumps(event["item"]))
        elif kind in _ENDS:
            response = untrusted_json.mapping(event.get("response"))
            self.response_id = untrusted_json.text(response.get("id"))
        return bool(kind in _ENDS and self.response_id)


def text_of(data: bytes, lane: str | None) -> str:
    """Return an event's data as a message; those of a lane name it."""
    if lane is not None and data.startswith(b"{"):
        data = b'{"stream_id":%b,%b' % (orjson.dumps(lane), data[1:])
    return data.decode(errors="replace")


def warm_up_events(model: str) -> tuple[str, list[bytes]]:
    """Return the id and the events of a response without output, which costs nothing."""
    begun = {**empty_response(status="in_progress"), "model": model}
    usage = {
        "input_tokens": 0,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 0,
    }
    ended = {**begun, "status": "completed", "usage": usage}
    events = [("response.created", begun), ("response.completed", ended)]
    return begun["id"], [
        orjson.dumps({"type": kind, "sequence_number": number, "response": response})
        for number, (kind, response) in enumerate(events)
    ]


def error_event(response: HttpResponse) -> bytes:
    """Return the answer to a refused or failed request as an event.

    https://developers.openai.com/api/reference/resources/responses/websocket-events
    """
    body = untrusted_json.mapping(orjson.loads(response.content))
    headers = {name: response[name] for name in _SHOWN if name in response}
    event = {"type": "error", "status": response.status_code, **body, "headers": headers}
    return orjson.dumps(event)
