"""`POST /v1/messages` and `/v1/messages/count_tokens`: Anthropic's own API, relayed.

https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from uuid import UUID

import orjson

from costs.core.usage import STANDARD_PLACE, STANDARD_TIER
from gateway.apis import counting
from gateway.apis.arrival import Arrival, not_served, refuse_elsewhere
from gateway.apis.base import Speaker
from gateway.apis.events import EventReading
from gateway.apis.families import naming
from gateway.apis.families.changes import BodyChanges, without_places
from gateway.apis.families.claude.models import may_think, takes_place, takes_speed
from gateway.apis.messages import answer as anthropic
from gateway.apis.messages import errors as anthropic_errors
from gateway.apis.messages.betas import HEADER, Betas, betas_in, sentences_of, without_denied
from gateway.apis.messages.ending import MessagesEnding
from gateway.apis.messages.input_count import COUNT_PATH, input_count
from gateway.apis.messages.tools import limited, uses_of
from gateway.apis.messages.usage_bound import (
    output_of,
    speed_in,
    tools_in,
    usage_bound_of,
    without_refused,
)
from gateway.core import bounds
from gateway.core.calls import Call, RelayRequest
from gateway.core.model_names import Model
from gateway.core.providers import ANTHROPIC, MESSAGES
from gateway.core.request_body import invalid
from gateway.core.usage_bound import OutputCap, OutputLimits
from orgs.core.pseudonyms import Pseudonyms

PATH: Final = "/v1/messages"
THINKING_MIN_TOKENS: Final = 1024
# What is read from a stream: usage, finish reason, errors. Content cannot match: inside a JSON
# string a quotation mark is escaped.
TELLING: Final = re.compile(rb'"type"\s*:\s*"(?:message_(?:start|delta|stop)|error)"')

VERSION: Final = "2023-06-01"
_VERSION_SHAPE: Final = re.compile(r"20\d\d-\d\d-\d\d")
_PLAIN_TEXT: Final = frozenset({"type", "text", "cache_control"})


class Messages:
    """The Dialect of messages, or of counting their tokens, which costs nothing."""

    key_headers: tuple[str, ...] = ("x-api-key",)
    refusals = anthropic_errors.REFUSALS
    error = staticmethod(anthropic_errors.error)
    error_event = staticmethod(anthropic_errors.error_event)

    def __init__(self, *, counts: bool = False) -> None:
        self.channel = "messages.count_tokens" if counts else "messages"
        self._counts = counts

    def read(self, arrival: Arrival) -> Call:
        """Parse a body into a Call."""
        betas, fields = betas_in(arrival.headers), without_denied(arrival.fields)
        refuse_elsewhere(fields)
        usage_bound = usage_bound_of(fields, betas)
        omitted = sentences_of(betas, arrival.fields)
        arrival = replace(arrival, fields=without_refused(fields))
        if self._counts:
            body = MessagesCountBody(arrival, betas, omitted)
            return arrival.whole_call(body, counting.free(usage_bound))
        if fields.get("max_tokens") is None:  # as the vendor does
            raise invalid("max_tokens must be given: the highest number of tokens to generate")
        return arrival.call(MessagesBody(arrival, betas, omitted), usage_bound)

    def speaker(self, call: Call, request_id: UUID) -> Speaker:
        """Never called: every answer is the vendor's own."""
        raise AssertionError("messages are relayed")


@dataclass(frozen=True, slots=True)
class MessagesBody:
    """The body of a messages request, its betas, and what was omitted of it."""

    arrival: Arrival
    betas: Betas
    omitted: tuple[str, ...]

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> RelayRequest:
        """Relay to Anthropic only."""
        _check_vendor(model, PATH)
        if speed_in(self.arrival.fields) != STANDARD_TIER and not takes_speed(model.id):
            raise invalid(f"speed must be standard for model {model.id}: it has no other")
        provider = model.served_by
        changes = BodyChanges(self._sent(model, cap))
        changes.body |= naming.for_anthropic(
            self.arrival.fields, names, adds=provider.family == ANTHROPIC
        )
        changes.drop(provider.dropped)
        sent, changed = limited(changes.body, cap)
        output = output_of(sent)
        most = bounds.output_tokens_at_most(output, model)
        headers = _headers(self.arrival, self.betas)
        return RelayRequest(
            dialect=MESSAGES,
            path=PATH,
            body=orjson.dumps(sent),
            output=output,
            headers=headers,
            adjustments=(*self.omitted, *changes.adjustments, *changed),
            uses=uses_of(tools_in(sent), output_cap=most),
            is_shown=not may_think(model.id, _thinking_type(sent)),
            whole=lambda body: anthropic.completion_from(orjson.loads(body), model=model.id),
            reading=lambda hide, seen: EventReading(
                anthropic.MessagesStreamReader(model.id),
                TELLING,
                hide,
                seen,
                MessagesEnding() if seen.is_sliced else None,
            ),
            input_count=(
                partial(input_count, sent, headers=headers) if provider.counts_input else None
            ),
        )

    def canonical(self) -> object:
        """Return system and messages, text-only ones as pairs of role and content."""
        return canonical(self.arrival.fields)

    def _sent(self, model: Model, cap: OutputCap) -> dict[str, Any]:
        provider = model.served_by
        sent = {**self.arrival.fields, "model": model.sent_name}
        sent.pop("service_tier", None)
        if provider.standard_tier:
            sent["service_tier"] = provider.standard_tier
        asked = output_of(sent)
        if cap.is_written and cap.tokens < (asked.max_tokens or 0):
            sent["max_tokens"] = cap.tokens
            if asked.thinking_tokens:
                sent["thinking"] = _thinking_within(cap, asked, sent["thinking"])
        is_at_vendor = provider.family == ANTHROPIC
        if is_at_vendor and takes_place(model.id) and sent.get("inference_geo") is None:
            # Otherwise the workspace's setting decides, possibly a more expensive place.
            sent["inference_geo"] = STANDARD_PLACE
        return sent


@dataclass(frozen=True, slots=True)
class MessagesCountBody:
    """The body of a count_tokens request, its betas, and what was omitted of it."""

    arrival: Arrival
    betas: Betas
    omitted: tuple[str, ...]

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> RelayRequest:
        """Relay to Anthropic only."""
        _check_vendor(model, COUNT_PATH)
        fields = {**self.arrival.fields, "model": model.sent_name}
        return RelayRequest(
            dialect=MESSAGES,
            path=COUNT_PATH,
            body=orjson.dumps(without_places(fields, model.served_by.dropped)),
            output=None,
            headers=_headers(self.arrival, self.betas),
            adjustments=self.omitted,
            whole=lambda body: counting.counted(body, model=model.id),
            reading=counting.not_streamed,
        )

    def canonical(self) -> object:
        """Return system and messages, as for the message itself."""
        return canonical(self.arrival.fields)


def canonical(fields: Mapping[str, Any]) -> list[object]:
    """Return a conversation for hashing: text-only messages are the same through any API."""
    system = fields.get("system")
    first = [{"role": "system", "content": system}] if system else []
    return [_canonical(message) for message in (*first, *fields["messages"])]


def _canonical(message: Mapping[str, Any]) -> object:
    if message.keys() != {"role", "content"}:
        return message
    content = message["content"]
    if isinstance(content, list) and len(content) == 1 and _is_plain(content[0]):
        content = content[0]["text"]
    return [message["role"], content]


def _is_plain(block: object) -> bool:
    if not isinstance(block, dict) or not block.keys() <= _PLAIN_TEXT:
        return False
    return block.get("type") == "text" and isinstance(block.get("text"), str)


def _thinking_type(fields: Mapping[str, Any]) -> str | None:
    thinking = fields.get("thinking")
    return str(thinking.get("type")) if isinstance(thinking, dict) else None


def _thinking_within(cap: OutputCap, asked: OutputLimits, thinking: object) -> object:
    """Return the thinking of a body whose cap is lowered: its budget is below the cap.

    https://platform.claude.com/docs/en/build-with-claude/extended-thinking: a budget has at least
    1,024 tokens.
    """
    if cap.tokens <= THINKING_MIN_TOKENS or not isinstance(thinking, dict):
        return {"type": "disabled"}
    budget = asked.with_cap(cap).thinking_tokens
    return {**thinking, "budget_tokens": max(THINKING_MIN_TOKENS, budget)}


def _check_vendor(model: Model, path: str) -> None:
    if MESSAGES not in model.served_by.dialects:
        raise not_served(model.id, path, "/v1/chat/completions")


def _headers(arrival: Arrival, betas: Betas) -> dict[str, str]:
    """Return the client's headers that are forwarded: the version and the betas."""
    version = arrival.headers.get("anthropic-version", "").strip()
    headers = {
        "content-type": "application/json",
        "anthropic-version": version if _VERSION_SHAPE.fullmatch(version) else VERSION,
    }
    return {**headers, HEADER: ",".join(betas.forwarded)} if betas.forwarded else headers
