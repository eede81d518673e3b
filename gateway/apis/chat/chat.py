"""`POST /v1/chat/completions`: relayed to providers with this API, translated for others.

https://developers.openai.com/api/reference/resources/chat
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson

from costs.core.usage import STANDARD_TIER
from gateway.apis import openai_errors
from gateway.apis.arrival import Arrival, refuse_elsewhere, tier_in
from gateway.apis.chat import answer as openai
from gateway.apis.chat import answers, mistral, relayed_mistral, relayed_openai, translation
from gateway.apis.chat.ending import ChatEnding
from gateway.apis.chat.usage_bound import CAP_NAMES, output_of, usage_bound_of, uses_of
from gateway.apis.events import EventReading, StreamReader
from gateway.apis.families import naming
from gateway.apis.families.changes import BodyChanges
from gateway.apis.families.openai import cap_name, is_reasoning
from gateway.core.calls import Call, Completion, Hide, Outgoing, RelayRequest
from gateway.core.model_names import Model
from gateway.core.providers import CHAT, MISTRAL, OPENAI
from gateway.core.seen import SeenOutput
from gateway.core.usage_bound import OutputCap
from orgs.core.pseudonyms import Pseudonyms

# What is read from a stream: usage, finish reason, errors, citations. Since every branch begins
# with one of a few characters, a search takes a third of the time.
TELLING: Final = re.compile(
    rb'"(?:usage"\s*:\s*\{|finish_reason"\s*:\s*"|error"\s*[:,}]|url_citation")'
)
_NO_USAGE: Final = re.compile(rb',\s*"usage"\s*:\s*null|"usage"\s*:\s*null\s*,')


@dataclass(frozen=True, slots=True, kw_only=True)
class _Variant:
    """How the servers of a family differ."""

    whole: Callable[..., Completion] = openai.completion_from
    reading: Callable[[str], StreamReader] = openai.ChatStreamReader
    named: Callable[[Mapping[str, Any], Pseudonyms], dict[str, Any]]
    fit: Callable[[BodyChanges, Model], None] | None = None
    own_client: bytes | None = None
    is_shown: Callable[[str], bool]  # whether all output of a model comes as it is produced


_VARIANTS: Final = {
    OPENAI: _Variant(
        named=naming.for_openai,
        fit=relayed_openai.fit,
        is_shown=lambda model_id: not is_reasoning(model_id),
    ),
    MISTRAL: _Variant(
        whole=mistral.completion_from,
        reading=mistral.MistralStreamReader,
        named=naming.for_mistral,
        fit=relayed_mistral.fit,
        own_client=b"mistral",
        is_shown=lambda _: True,
    ),
}
_COMPATIBLE: Final = _Variant(named=naming.for_compatible, is_shown=lambda _: False)


class ChatCompletions:
    """The Dialect of chat completions."""

    channel = "chat.completions"
    key_headers: tuple[str, ...] = ()
    refusals = openai_errors.REFUSALS
    error = staticmethod(openai_errors.error)
    error_event = staticmethod(openai_errors.error_event)

    def read(self, arrival: Arrival) -> Call:
        """Parse a body into a Call."""
        refuse_elsewhere(arrival.fields)
        return arrival.call(ChatBody(arrival), usage_bound_of(arrival.fields))

    def speaker(self, call: Call, request_id: UUID) -> answers.ChatSpeaker:
        """Return the formatter of a translated answer."""
        body = call.body
        return answers.ChatSpeaker(
            model=call.model,
            request_id=request_id,
            with_usage=isinstance(body, ChatBody) and body.asks_for_usage(),
        )


@dataclass(frozen=True, slots=True)
class ChatBody:
    """The body of a chat completion."""

    arrival: Arrival

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> Outgoing:
        """Relay to providers with this API, as their models take it; use the SDK of any other."""
        provider, fields = model.served_by, self.arrival.fields
        if CHAT not in provider.dialects:
            return translation.provider_call(fields, model, cap, timeout_s=timeout_s, names=names)
        variant = _VARIANTS.get(provider.family, _COMPATIBLE)
        changes = BodyChanges(self._sent(model, cap) | variant.named(fields, names))
        if provider.cap_name:
            for name in CAP_NAMES:
                if name != provider.cap_name and fields.get(name) is not None:
                    changes.report(f"{name} is sent as {provider.cap_name}")
        if variant.fit is not None:
            variant.fit(changes, model)
        changes.drop(provider.dropped)
        sent = changes.body
        return RelayRequest(
            dialect=CHAT,
            path="/chat/completions",
            body=orjson.dumps(sent),
            output=output_of(sent),
            headers={"content-type": "application/json"},
            whole=lambda body: variant.whole(orjson.loads(body), model=model.id),
            reading=lambda hide, seen: self._reading(model, variant, hide, seen),
            adjustments=changes.adjustments,
            uses=uses_of(sent),
            is_shown=variant.is_shown(model.id),
        )

    def canonical(self) -> object:
        """Return the messages, text-only ones as pairs of role and content."""
        return canonical(self.arrival.fields["messages"])

    def asks_for_usage(self) -> bool:
        """Whether the client requests the usage of its stream."""
        options = self.arrival.fields.get("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True

    def _sent(self, model: Model, cap: OutputCap) -> dict[str, Any]:
        fields, provider = self.arrival.fields, model.served_by
        sent = {**fields, "model": model.sent_name}
        if tier_in(fields) == STANDARD_TIER:
            sent.pop("service_tier", None)
            if provider.standard_tier:
                sent["service_tier"] = provider.standard_tier
        caps = [name for name in CAP_NAMES if fields.get(name) is not None]
        if provider.cap_name and (caps or cap.is_written):
            for name in caps:
                del sent[name]
            sent[provider.cap_name] = cap.tokens
        elif cap.is_written:
            for name in caps or (cap_name(model.id),):
                sent[name] = min(fields.get(name) or cap.tokens, cap.tokens)
        if not provider.takes_stream_options:
            sent.pop("stream_options", None)
        elif self.arrival.is_streamed():
            options = fields.get("stream_options")
            given = options if isinstance(options, dict) else {}
            sent["stream_options"] = {**given, "include_usage": True}
        return sent

    def _reading(
        self, model: Model, variant: _Variant, hide: Hide, seen: SeenOutput
    ) -> EventReading:
        agent = self.arrival.headers.get("user-agent", "").lower().encode(errors="replace")
        is_own_client = variant.own_client is not None and variant.own_client in agent
        reading, ending = variant.reading(model.id), ChatEnding() if seen.is_sliced else None
        if self.asks_for_usage() or is_own_client:
            return EventReading(reading, TELLING, hide, seen, ending)
        return EventReading(reading, TELLING, hide, seen, ending, shown=_without_usage)


def canonical(messages: list[dict[str, Any]]) -> list[object]:
    """Return messages for hashing: text-only ones are the same through any API."""
    return [
        [message["role"], message["content"]] if message.keys() == {"role", "content"} else message
        for message in messages
    ]


def _without_usage(event: bytes, value: object) -> bytes:
    """Return an event without usage; empty if it had nothing else."""
    if not isinstance(value, dict) or "usage" not in value:
        return event
    if value["usage"] is None:
        return _NO_USAGE.sub(b"", event)
    if value.get("choices") == []:
        return b""
    rest = {name: part for name, part in value.items() if name != "usage"}
    return b"data: %b\n\n" % orjson.dumps(rest)
