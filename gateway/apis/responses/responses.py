"""`POST /v1/responses`: relayed to OpenAI, for its own models.

What it stores is the organization's, which knows its ids, although all organizations of an
installation share one account.

https://developers.openai.com/api/reference/resources/responses
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from uuid import UUID

import orjson

from gateway.apis import openai_errors
from gateway.apis.arrival import Arrival, not_served, refuse_elsewhere, tier_in, whole
from gateway.apis.base import Speaker
from gateway.apis.events import EventReading, rewritten
from gateway.apis.families import naming as families_naming
from gateway.apis.families.changes import BodyChanges
from gateway.apis.families.openai import is_reasoning
from gateway.apis.responses import answer as responses
from gateway.apis.responses import codex
from gateway.apis.responses.ending import ResponsesEnding
from gateway.apis.responses.failed import failed_event
from gateway.apis.responses.headers import sent_headers
from gateway.apis.responses.named import (
    NO_IDS,
    KnownIds,
    named_in,
    naming,
)
from gateway.apis.responses.tools import ResponsesTools
from gateway.apis.responses.usage_bound import (
    compacts_later,
    items_of,
    output_of,
    tools_in,
    usage_bound_of,
    uses_of,
)
from gateway.core.calls import Call, Hide, RelayRequest
from gateway.core.kept import Keeping
from gateway.core.model_names import Model
from gateway.core.providers import OPENAI, RESPONSES
from gateway.core.usage_bound import HOSTED_CALLS_MAX, OutputCap
from gateway.upstream import untrusted_json
from orgs.core.pseudonyms import Pseudonyms

PATH: Final = "/v1/responses"
# What is read from a stream: how it ended, and its usage.
TELLING: Final = re.compile(
    rb'"(?:type"\s*:\s*"(?:response\.(?:completed|incomplete|failed)|error)"|error"\s*:\s*\{)'
)


class Responses:
    """The Dialect of responses."""

    channel = "responses"
    key_headers: tuple[str, ...] = ()
    error_event = staticmethod(failed_event)

    def __init__(self, *, for_codex: bool = False) -> None:
        words = codex if for_codex else openai_errors
        self.refusals = words.REFUSALS
        self.error = words.error

    def read(self, arrival: Arrival) -> Call:
        """Parse a body into a Call."""
        refuse_elsewhere(arrival.fields)
        usage_bound = usage_bound_of(arrival.fields)
        named = named_in(arrival.fields, items_of(arrival.fields))
        body = ResponseBody(arrival, conversation=named.conversation)
        return naming(arrival.call(body, usage_bound), named)

    def speaker(self, call: Call, request_id: UUID) -> Speaker:
        """Never called: all answers are relayed."""
        raise AssertionError("responses are relayed")


@dataclass(frozen=True, slots=True)
class ResponseBody:
    """The body of a response. The answer is added to a `conversation`, if it names one."""

    arrival: Arrival
    conversation: str | None = None
    known: KnownIds = NO_IDS

    def with_known(self, known: KnownIds) -> ResponseBody:
        """Return the body with what is known of its ids."""
        return replace(self, known=known)

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> RelayRequest:
        """Relay the body. Raises Refused for other vendors' models."""
        provider, fields = model.served_by, self.arrival.fields
        if RESPONSES not in provider.dialects:
            raise not_served(model.id, PATH, "/v1/chat/completions")
        if model.makes_embeddings:
            raise not_served(model.id, PATH, "/v1/embeddings")
        is_at_vendor = provider.family == OPENAI
        named = families_naming.for_openai if is_at_vendor else families_naming.for_compatible
        changes = BodyChanges(self._sent(model, cap) | named(fields, names))
        changes.drop(provider.dropped)
        if fields.get("store") and not self.known.stores:
            changes.report("store is sent as false: answers of this organization are not stored")
        tools = tools_in(changes.body)
        _limit_hosted_calls(changes, tools, cap)
        sent = changes.body
        output, uses = output_of(sent), uses_of(sent, tools)
        return RelayRequest(
            dialect=RESPONSES,
            path="/responses",
            body=orjson.dumps(sent),
            output=output,
            headers={"content-type": "application/json", **sent_headers(self.arrival.headers)},
            whole=lambda body: responses.completion_from(
                orjson.loads(body), model=model.id, by_preview=uses.by_preview
            ),
            reading=lambda hide, seen: EventReading(
                responses.ResponsesStreamReader(model.id, uses.by_preview),
                TELLING,
                hide,
                seen,
                ResponsesEnding() if seen.is_sliced else None,
                shown=partial(_shown, hide),
            ),
            adjustments=changes.adjustments,
            more_input_tokens=output.max_tokens or 0 if compacts_later(sent) else 0,
            uses=uses,
            is_shown=is_at_vendor and not is_reasoning(model.id),
            keeping=self._keeping(sent),
        )

    def canonical(self) -> object:
        """Return the messages, text-only ones as pairs of role and content."""
        return canonical(self.arrival.fields)

    def _sent(self, model: Model, cap: OutputCap) -> dict[str, Any]:
        fields = self.arrival.fields
        provider = model.served_by
        sent = {**fields, "model": model.sent_name}
        sent.pop("multi_agent", None)  # empty, and its beta does not reach the vendor
        if not (self.known.stores and provider.keeps):
            sent["store"] = False
        if tier_in(fields) == "standard":
            sent.pop("service_tier", None)
            if provider.standard_tier:
                sent["service_tier"] = provider.standard_tier
        if cap.is_written:
            sent["max_output_tokens"] = cap.tokens
        if isinstance(given := fields.get("input"), list):
            sent["input"] = self.known.sent(given)
        return sent

    def _keeping(self, sent: Mapping[str, Any]) -> Keeping | None:
        turn = None if self.conversation is None else self.known.found.get(self.conversation)
        if turn is None and sent.get("store") is False:
            return None
        return Keeping(
            gives=sent.get("store") is not False,
            # A truncated context is read in part, and has more than is counted.
            is_exact=sent.get("truncation") in (None, "disabled"),
            turn=turn,
        )


def _limit_hosted_calls(changes: BodyChanges, tools: ResponsesTools, cap: OutputCap) -> None:
    """Write the most tool calls that the provider may run, unless the caller allows fewer."""
    limit = cap.uses_limit(HOSTED_CALLS_MAX, searches=tools.searches)
    given = whole(changes.body, "max_tool_calls")
    if limit and tools.runs_at_provider and (given is None or given > limit.most):
        note = limit.note(f"max_tool_calls is sent as {limit.most}")
        changes.put(note, max_tool_calls=limit.most)


def _shown(hide: Hide, event: bytes, value: object) -> bytes:
    """Return an event without keys and accounts in the error of a failed response."""
    body = untrusted_json.mapping(value)
    response = untrusted_json.mapping(body.get("response"))
    if response.get("error") is None:
        return event
    shown = {**body, "response": {**response, "error": hide(response["error"])}}
    return rewritten(event, value, shown)


def canonical(fields: Mapping[str, Any]) -> list[object]:
    """Return a body's prompt for hashing, with what it continues."""
    names = ("previous_response_id", "conversation")
    continued = [[name, fields[name]] for name in names if fields.get(name)]
    instructions = fields.get("instructions")
    first = [["system", instructions]] if instructions else []
    return [*continued, *first, *(_canonical(item) for item in items_of(fields))]


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
