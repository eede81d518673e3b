"""Google's generateContent, streamGenerateContent and countTokens, relayed to the same version.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import orjson

from costs.core.usage import STANDARD_TIER
from gateway.apis import counting
from gateway.apis.arrival import Arrival, not_served, refuse_elsewhere
from gateway.apis.base import Speaker
from gateway.apis.events import EventReading
from gateway.apis.families.changes import BodyChanges, without_places
from gateway.apis.families.gemini.models import may_think
from gateway.apis.generate import answer as google
from gateway.apis.generate import errors as google_errors
from gateway.apis.generate.arrays import ArrayReading
from gateway.apis.generate.ending import GenerateEnding
from gateway.apis.generate.input_count import input_count
from gateway.apis.generate.spelling import in_camel_case
from gateway.apis.generate.tools import uses_of
from gateway.apis.generate.usage_bound import (
    output_of,
    spelled,
    thinking_budget_of,
    tier_in,
    tools_in,
    usage_bound_of,
)
from gateway.core.calls import Call, Hide, RelayRequest, StreamReading
from gateway.core.errors import GatewayError
from gateway.core.model_names import Model, fits_path
from gateway.core.providers import GENERATE
from gateway.core.request_body import invalid, model_in
from gateway.core.seen import SeenOutput
from gateway.core.usage_bound import OutputCap, OutputLimits
from orgs.core.pseudonyms import Pseudonyms

VERSIONS: Final = ("v1beta", "v1")
GENERATE_CONTENT: Final = "generateContent"
STREAM: Final = "streamGenerateContent"
COUNT: Final = "countTokens"
# A thinking budget that is the model's to choose, within the cap:
# https://ai.google.dev/gemini-api/docs/thinking
BUDGET_OF_MODEL: Final = -1

# What is read from a stream besides output: usage, finish reason, errors, searches.
# Inside a JSON string a quotation mark is escaped, so content cannot match.
TELLING: Final = re.compile(
    rb'"(?:finishReason"\s*:\s*"|error"\s*:|groundingMetadata"|blockReason"|usageMetadata")'
)

# Models that return images by default, at a price that no bucket has.
_PICTURES: Final = re.compile(r"-image(?:-|$)|^imagen-")
_JSON_ALT: Final = ("", "json")
_KEYS_IN_QUERY: Final = frozenset({"key", "api_key", "access_token", "oauth_token"})


class Generate:
    """The Dialect of one method in one version; `is_array` if streams are JSON arrays."""

    key_headers: tuple[str, ...] = ("x-goog-api-key",)
    refusals = google_errors.REFUSALS
    error = staticmethod(google_errors.error)

    def __init__(self, *, version: str, method: str, is_array: bool = False) -> None:
        self.channel = method
        self._version = version
        self._method = method
        self._is_array = is_array

    def read(self, arrival: Arrival) -> Call:
        """Parse a body into a Call."""
        check_query(arrival.path)
        named = model_in({"model": arrival.named})
        refuse_elsewhere(arrival.fields)
        normalized = replace(arrival, named=named, fields=spelled(arrival.fields))
        address = Address(self._version, self._method, self._is_array)
        if self._method == COUNT:
            body = GenerateCountBody(normalized, address)
            return normalized.whole_call(body, counting.free(usage_bound_of(body.counted())))
        return normalized.call(GenerateBody(normalized, address), usage_bound_of(normalized.fields))

    def speaker(self, call: Call, request_id: UUID) -> Speaker:
        """Never called: every answer is the vendor's own."""
        raise AssertionError("contents are relayed")

    def error_event(self, error: GatewayError) -> bytes:
        """Return an error as the end of a stream."""
        if self._is_array:
            return google_errors.error_element(error)
        return google_errors.error_event(error)


@dataclass(frozen=True, slots=True)
class Address:
    """The method and version of a request, and its stream format.

    Models of other vendors have the path `instead`.
    """

    version: str
    method: str
    is_array: bool = False
    instead: str = "/v1/chat/completions"

    def path(self, model: Model) -> str:
        """Return the path for a model. Raises Refused if it is not Google's."""
        if GENERATE not in model.served_by.dialects:
            raise not_served(model.id, f"/{self.version}/models", self.instead)
        name = model.sent_name
        if not fits_path(name, of_row=model.served_by.is_row):
            raise invalid(f"Model name {name} must be usable in a URL path")
        alt = "?alt=sse" if self.method == STREAM and not self.is_array else ""
        # Where a base URL is for this API alone, it includes the version.
        version = "" if GENERATE in model.served_by.base_urls else f"/{self.version}"
        return f"{version}/models/{name}:{self.method}{alt}"


@dataclass(frozen=True, slots=True)
class GenerateBody:
    """The body of a generateContent request, with its fields in one spelling."""

    arrival: Arrival
    address: Address

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> RelayRequest:
        """Relay to Google only."""
        path = self.address.path(model)
        if _PICTURES.search(model.id):
            raise invalid(
                f"Model {model.id} is not supported: it returns images, which have no price"
            )
        changes = BodyChanges(self._sent(cap))
        changes.drop(model.served_by.dropped)
        sent = changes.body
        request = RelayRequest(
            dialect=GENERATE,
            path=path,
            body=orjson.dumps(sent),
            output=output_of(sent),
            adjustments=changes.adjustments,
            uses=uses_of(tools_in(sent), cap),
            is_shown=not may_think(model.id, thinking_budget_of(sent)),
            headers={"content-type": "application/json"},
            whole=lambda body: google.completion_from(orjson.loads(body), model=model.id),
            reading=lambda hide, seen: self._reading(model, hide, seen),
            input_count=(
                partial(input_count, sent, model=model.id, version=self.address.version)
                if model.served_by.counts_input
                else None
            ),
        )
        if self.address.is_array:
            return replace(request, streamed_as=frozenset({"application/json"}))
        return request

    def canonical(self) -> object:
        """Return instruction and contents, text-only ones as pairs of role and content."""
        return canonical(self.arrival.fields)

    def _sent(self, cap: OutputCap) -> dict[str, Any]:
        # The path names the model; no field may select another one.
        fields = self.arrival.fields
        omitted = ("model", "serviceTier") if tier_in(fields) == STANDARD_TIER else ("model",)
        sent = {name: value for name, value in fields.items() if name not in omitted}
        config: Mapping[str, Any] = sent.get("generationConfig") or {}
        if cap.is_written:
            sent["generationConfig"] = _capped(config, cap, asked=output_of(fields))
        if sent.get("store"):
            sent["store"] = False  # it would be stored where every tenant's requests are
        return sent

    def _reading(self, model: Model, hide: Hide, seen: SeenOutput) -> StreamReading:
        reading, ending = google.GenerateStreamReader(model.id), None
        if seen.is_sliced:
            ending = GenerateEnding()
        if self.address.is_array:
            return ArrayReading(reading, TELLING, hide, seen, ending)
        return EventReading(reading, TELLING, hide, seen, ending)


def _capped(config: Mapping[str, Any], cap: OutputCap, *, asked: OutputLimits) -> dict[str, Any]:
    """Return a generationConfig with the cap; a thinking budget that is not below it is left to
    the model, unless the caller asked for both.
    """
    capped = {**config, "maxOutputTokens": cap.tokens}
    if asked.with_cap(cap).thinking_tokens < asked.thinking_tokens:
        thinking = in_camel_case(config["thinkingConfig"], {"thinkingBudget"})
        capped["thinkingConfig"] = {**thinking, "thinkingBudget": BUDGET_OF_MODEL}
    return capped


@dataclass(frozen=True, slots=True)
class GenerateCountBody:
    """The body of a countTokens request: contents, or a nested generateContentRequest."""

    arrival: Arrival
    address: Address

    def counted(self) -> dict[str, Any]:
        """Return the counted request, in one spelling. Raises Refused."""
        inner = self.arrival.fields.get("generateContentRequest")
        if inner is None:
            return self.arrival.fields
        if not isinstance(inner, dict) or self.arrival.fields.get("contents") is not None:
            raise invalid(
                "Either contents or generateContentRequest (an object) must be given, not both"
            )
        return spelled(inner)

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> RelayRequest:
        """Relay to Google only."""
        return RelayRequest(
            dialect=GENERATE,
            path=self.address.path(model),
            body=orjson.dumps(without_places(self._sent(model), model.served_by.dropped)),
            output=None,
            headers={"content-type": "application/json"},
            whole=lambda body: counting.counted(body, model=model.id),
            reading=counting.not_streamed,
        )

    def canonical(self) -> object:
        """Return instruction and contents, as for the content itself."""
        return canonical(self.counted())

    def _sent(self, model: Model) -> dict[str, Any]:
        fields = self.arrival.fields
        if fields.get("generateContentRequest") is not None:  # all that is checked
            return {
                "generateContentRequest": {**self.counted(), "model": f"models/{model.sent_name}"}
            }
        return {name: value for name, value in fields.items() if name != "model"}


def canonical(fields: Mapping[str, Any]) -> list[object]:
    """Return a conversation for hashing: text-only messages are the same through any API."""
    contents = fields["contents"]
    turns = [*contents] if isinstance(contents, list) else [contents]
    system = fields.get("systemInstruction")
    instruction = [_canonical(system, role="system")] if isinstance(system, dict) else []
    return [*instruction, *(_canonical(content) for content in turns)]


def _canonical(content: Mapping[str, Any], *, role: str | None = None) -> object:
    named = role or content.get("role") or "user"
    parts = content.get("parts")
    part = parts[0] if isinstance(parts, list) and len(parts) == 1 else parts
    if content.keys() <= {"role", "parts"} and isinstance(part, dict) and part.keys() == {"text"}:
        return ["assistant" if named == "model" else named, part["text"]]
    return [named, content]


def check_query(path: str) -> None:
    """Refuse query parameters that matter and are not forwarded."""
    for name, value in parse_qsl(urlsplit(path).query, keep_blank_values=True):
        if name.lower() in _KEYS_IN_QUERY:
            raise invalid(
                "API keys in the query string are not accepted; send the key in x-goog-api-key"
            )
        if name.lstrip("$") == "alt" and value not in (*_JSON_ALT, "sse"):
            raise invalid("alt must be json or sse")
