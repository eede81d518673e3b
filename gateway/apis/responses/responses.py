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
from gateway.apis.arrival import Arrival, not_served, refuse_elsewhere, tier_in
from gateway.apis.base import Speaker
from gateway.apis.events import EventReading, rewritten
from gateway.apis.families import naming
from gateway.apis.responses import answer as responses
from gateway.apis.responses.tools import asks_for_preview
from gateway.apis.responses.usage_bound import is_only_an_id, items_of, output_of, usage_bound_of
from gateway.core.calls import Call, Hide, RelayRequest
from gateway.core.errors import GatewayError
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

    def read(self, arrival: Arrival) -> Call:
        """Parse a body into a Call."""
        refuse_elsewhere(arrival.fields)
        return arrival.call(ResponseBody(arrival), usage_bound_of(arrival.fields))

    def speaker(self, call: Call, request_id: UUID) -> Speaker:
        """Never called: all answers are relayed."""
        raise AssertionError("responses are relayed")

    def error_event(self, error: GatewayError) -> bytes:
        """Return an error as the last event, with the documented fields and those that the
        vendor's own libraries raise.
        """
        body = openai_errors.error(error, status=error.status)
        documented = {"type": "error", "code": error.code, "message": error.message, "param": None}
        return b"event: error\ndata: %b\n\n" % orjson.dumps({**documented, **body})


@dataclass(frozen=True, slots=True)
class ResponseBody:
    """The body of a response."""

    arrival: Arrival

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> RelayRequest:
        """Relay the body. Raises Refused for other vendors' models."""
        if model.provider != PROVIDER:
            raise not_served(model.id, PATH, "/v1/chat/completions")
        if model.makes_embeddings:
            raise not_served(model.id, PATH, "/v1/embeddings")
        sent = self._sent(model, cap) | naming.for_openai(self.arrival.fields, names)
        by_preview = any(map(asks_for_preview, (sent, *items_of(sent))))
        return RelayRequest(
            path="/responses",
            body=orjson.dumps(sent),
            output=output_of(sent),
            headers={"content-type": "application/json"},
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
        if cap.is_written and fields.get("max_output_tokens") is None:
            sent["max_output_tokens"] = cap.tokens
        if isinstance(fields["input"], list):
            sent["input"] = [i for i in fields["input"] if not is_only_an_id(i)]
        return sent


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
