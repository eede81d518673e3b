"""`POST /v1/responses/compact` and `/v1/responses/input_tokens`: a conversation made short, for the
price of reading it, and its tokens counted, for nothing.

https://developers.openai.com/api/docs/guides/compaction,
https://developers.openai.com/api/docs/guides/token-counting
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import orjson

from costs.core.usage import STANDARD_TIER
from gateway.apis import counting, openai_errors
from gateway.apis.arrival import Arrival, not_served, refuse_elsewhere, tier_in
from gateway.apis.base import Speaker
from gateway.apis.families import naming as families_naming
from gateway.apis.families.changes import without_places
from gateway.apis.responses import answer as responses
from gateway.apis.responses.headers import sent_headers
from gateway.apis.responses.named import NO_IDS, KnownIds, named_in, naming
from gateway.apis.responses.responses import canonical
from gateway.apis.responses.usage_bound import items_of, tools_in, usage_bound_of, uses_of
from gateway.core.calls import Call, Completion, RelayRequest
from gateway.core.model_names import Model
from gateway.core.providers import RESPONSES
from gateway.core.request_body import invalid
from gateway.core.usage_bound import BY_POLICY, OutputCap, OutputLimits
from orgs.core.pseudonyms import Pseudonyms

COMPACT_PATH: Final = "/v1/responses/compact"
COUNT_PATH: Final = "/v1/responses/input_tokens"
_NOT_FOR_COUNTS: Final = frozenset({"user", "safety_identifier", "prompt_cache_key", "store"})


class Compaction:
    """The Dialect of compaction, or of counting tokens, which costs nothing."""

    key_headers: tuple[str, ...] = ()
    refusals = openai_errors.REFUSALS
    error = staticmethod(openai_errors.error)
    error_event = staticmethod(openai_errors.error_event)

    def __init__(self, *, counts: bool = False) -> None:
        self.channel = "responses.input_tokens" if counts else "responses.compact"
        self._counts = counts

    def read(self, arrival: Arrival) -> Call:
        """Parse a body into a Call."""
        refuse_elsewhere(arrival.fields)
        usage_bound = usage_bound_of(arrival.fields)
        named = named_in(arrival.fields, items_of(arrival.fields))
        if self._counts:
            call = arrival.whole_call(CountBody(arrival), counting.free(usage_bound))
        elif arrival.is_streamed():
            raise invalid(f"stream is not supported at {COMPACT_PATH}")
        else:
            # No field of the vendor's limits what it writes.
            usage_bound = replace(usage_bound, output=OutputLimits())
            call = arrival.whole_call(CompactBody(arrival), usage_bound)
        return naming(call, named)

    def speaker(self, call: Call, request_id: UUID) -> Speaker:
        """Never called: all answers are relayed."""
        raise AssertionError("responses are relayed")


@dataclass(frozen=True, slots=True)
class CompactBody:
    """The body of a compaction."""

    arrival: Arrival
    known: KnownIds = NO_IDS

    def with_known(self, known: KnownIds) -> CompactBody:
        """Return the body with what is known of its ids."""
        return replace(self, known=known)

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> RelayRequest:
        """Relay the body. Raises Refused where a policy limits the output: here it cannot."""
        _check_vendor(model, COMPACT_PATH)
        if cap.by == BY_POLICY:
            raise invalid(
                f"{COMPACT_PATH} is not available: a policy limits output tokens, and the "
                "provider has no limit for those of a compaction"
            )
        fields = self.arrival.fields
        tier = tier_in(fields)
        cache_key = families_naming.for_openai(fields, names).get("prompt_cache_key")
        return RelayRequest(
            dialect=RESPONSES,
            path="/responses/compact",
            body=orjson.dumps(
                {
                    **_sent(fields, model, self.known),
                    "service_tier": "default" if tier == STANDARD_TIER else tier,
                    **({"prompt_cache_key": cache_key} if cache_key else {}),
                }
            ),
            output=OutputLimits(),
            headers=_headers(self.arrival),
            uses=uses_of(fields, tools_in(fields)),
            whole=lambda body: _compacted(body, model=model.id, tier=tier),
            reading=counting.not_streamed,
        )

    def canonical(self) -> object:
        """Return the messages, as for a response."""
        return canonical(self.arrival.fields)


@dataclass(frozen=True, slots=True)
class CountBody:
    """The body of a count of input tokens."""

    arrival: Arrival
    known: KnownIds = NO_IDS

    def with_known(self, known: KnownIds) -> CountBody:
        """Return the body with what is known of its ids."""
        return replace(self, known=known)

    def outgoing(
        self, model: Model, cap: OutputCap, *, timeout_s: float, names: Pseudonyms
    ) -> RelayRequest:
        """Relay the body. Raises Refused for other vendors' models."""
        _check_vendor(model, COUNT_PATH)
        sent = _sent(self.arrival.fields, model, self.known)
        return RelayRequest(
            dialect=RESPONSES,
            path="/responses/input_tokens",
            body=orjson.dumps({k: v for k, v in sent.items() if k not in _NOT_FOR_COUNTS}),
            output=None,
            headers=_headers(self.arrival),
            whole=lambda body: counting.counted(body, model=model.id),
            reading=counting.not_streamed,
        )

    def canonical(self) -> object:
        """Return the messages, as for a response."""
        return canonical(self.arrival.fields)


def _check_vendor(model: Model, path: str) -> None:
    # No model of OpenAI's has a slash, which `gpt-*` does not match; a count needs no price.
    is_unknown = "/" in model.id and not model.served_by.is_row
    if RESPONSES not in model.served_by.dialects or model.makes_embeddings or is_unknown:
        raise not_served(model.id, path, "an OpenAI model that answers")


def _sent(fields: Mapping[str, Any], model: Model, known: KnownIds) -> dict[str, Any]:
    sent = {**fields, "model": model.sent_name}
    if isinstance(given := fields.get("input"), list):
        sent["input"] = known.sent(given)
    return without_places(sent, model.served_by.dropped)


def _headers(arrival: Arrival) -> dict[str, str]:
    return {"content-type": "application/json", **sent_headers(arrival.headers)}


def _compacted(body: bytes, *, model: str, tier: str) -> Completion:
    """Parse a compaction: it names neither its model nor, if it was another one, its tier."""
    report = orjson.loads(body)
    found = responses.completion_from(report, model=model)
    usage = found.usage
    if usage is not None and "service_tier" not in report:
        usage = replace(usage, service_tier=tier)
    return replace(found, usage=usage, finish_reason="stop", given=())
