"""`POST /v1/responses`: relayed to OpenAI, for its own models.

Nothing is stored at the provider: all organizations of an installation share one account.

https://developers.openai.com/api/reference/resources/responses
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import UUID

import orjson

from gateway.apis import openai_errors
from gateway.apis.arrival import Arrival, not_served, refuse_elsewhere, tier_in, whole
from gateway.apis.base import Speaker
from gateway.apis.events import EventReading, rewritten
from gateway.apis.families import naming
from gateway.apis.families.changes import BodyChanges
from gateway.apis.responses import answer as responses
from gateway.apis.responses.failed import failed_event
from gateway.apis.responses.headers import sent_headers
from gateway.apis.responses.tools import asks_for_preview
from gateway.apis.responses.usage_bound import (
    compacts_later,
    is_only_an_id,
    items_of,
    output_of,
    usage_bound_of,
)
from gateway.core.calls import Call, Hide, RelayRequest
from gateway.core.model_names import Model
from gateway.core.usage_bound import OutputCap
from gateway.upstream import untrusted_json
from orgs.core.pseudonyms import Pseudonyms

PROVIDER: Final = "openai"
PATH: Final = "/v1/responses"
# What is read from a stream: how it ended, and its usage.
TELLING: Final = re.compile(
    rb'"(?:type"\s*:\s*"(?:response\.(?:completed|incomplete|failed)|error)"|error"\s*:\s*\{)'
)


class Responses:
    """The Dialect of responses."""

    channel = "responses"
    key_headers: tuple[str, ...] = ()
    refusals = openai_errors.REFUSALS
    error = staticmethod(openai_errors.error)
    error_event = staticmethod(failed_event)

    def read(self, arrival: Arrival) -> Call:
        """Parse a body into a Call."""
        refuse_elsewhere(arrival.fields)
        usage_bound = usage_bound_of(arrival.fields)
        has_hosted_calls = usage_bound.hosted_calls > 0
        return arrival.call(ResponseBody(arrival, has_hosted_calls), usage_bound)

    def speaker(self, call: Call, request_id: UUID) -> Speaker:
        """Never called: all answers are relayed."""
        raise AssertionError("responses are relayed")


@dataclass(frozen=True, slots=True)
class ResponseBody:
    """The body of a response. It may have tool calls that the provider runs by itself."""

    arrival: Arrival
    has_hosted_calls: bool = False

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> RelayRequest:
        """Relay the body. Raises Refused for other vendors' models."""
        if model.provider != PROVIDER:
            raise not_served(model.id, PATH, "/v1/chat/completions")
        if model.makes_embeddings:
            raise not_served(model.id, PATH, "/v1/embeddings")
        fields = self.arrival.fields
        changes = BodyChanges(self._sent(model, cap) | naming.for_openai(fields, names))
        if self.has_hosted_calls and cap.hosted_calls is not None:
            _limit_hosted_calls(changes, cap.hosted_calls)
        sent = changes.body
        output = output_of(sent)
        by_preview = any(map(asks_for_preview, (sent, *items_of(sent))))
        return RelayRequest(
            path="/responses",
            body=orjson.dumps(sent),
            output=output,
            headers={"content-type": "application/json", **sent_headers(self.arrival.headers)},
            whole=lambda body: responses.completion_from(
                orjson.loads(body), model=model.id, by_preview=by_preview
            ),
            reading=lambda hide, seen: EventReading(
                responses.ResponsesStreamReader(model.id, by_preview),
                TELLING,
                hide,
                seen,
                shown=partial(_shown, hide),
            ),
            adjustments=changes.adjustments,
            more_input_tokens=output.max_tokens or 0 if compacts_later(sent) else 0,
        )

    def canonical(self) -> object:
        """Return the messages, text-only ones as pairs of role and content."""
        instructions = self.arrival.fields.get("instructions")
        first = [["system", instructions]] if instructions else []
        return [*first, *(_canonical(item) for item in items_of(self.arrival.fields))]

    def identity(self) -> object:
        """Return the unchanged body with its dimensions."""
        return self.arrival.identity()

    def _sent(self, model: Model, cap: OutputCap) -> dict[str, Any]:
        fields = self.arrival.fields
        sent = {**fields, "model": model.id, "store": False}
        if tier_in(fields) == "standard":
            # Otherwise the project's setting decides, possibly a more expensive tier.
            sent["service_tier"] = "default"
        if cap.is_written:
            sent["max_output_tokens"] = cap.tokens
        if isinstance(fields["input"], list):
            sent["input"] = [i for i in fields["input"] if not is_only_an_id(i)]
        return sent


def _limit_hosted_calls(changes: BodyChanges, most: int) -> None:
    """Write the most tool calls that the provider may run, unless the caller allows fewer."""
    given = whole(changes.body, "max_tool_calls")
    if given is None or given > most:
        changes.put(f"max_tool_calls is sent as {most}", max_tool_calls=most)


def _shown(hide: Hide, event: bytes, value: object) -> bytes:
    """Return an event without keys and accounts in the error of a failed response."""
    body = untrusted_json.mapping(value)
    response = untrusted_json.mapping(body.get("response"))
    if response.get("error") is None:
        return event
    shown = {**body, "response": {**response, "error": hide(response["error"])}}
    return rewritten(event, value, shown)


def _canonical(item: Mapping[str, Any]) -> object:
    """Return an item for hashing: a text-only one is the same through any API."""
    if item.keys() - {"type"} != {"role", "content"}:
        return item
    content = item["content"]
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        [part] = content
        if part.keys() == {"type", "text"}:
            content = part["text"]
    return [item["role"], content]
