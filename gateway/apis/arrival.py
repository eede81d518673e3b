"""Parsing shared by all dialects: the body, its numbers, and fields that none supports."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from costs.core.usage import STANDARD_TIER
from gateway.core.calls import Call, Dimensions, RequestBody
from gateway.core.errors import Refused
from gateway.core.request_body import TOKENS_MAX, flag, invalid, model_in, object_in
from gateway.core.strict_json import place_of
from gateway.core.usage_bound import UsageBound
from gateway.upstream.untrusted_json import WORD_MAX_CHARS
from orgs.core.frozen import frozen

# Fields that make OpenAI-like servers call another address, or use other keys.
ELSEWHERE: Final = frozenset(
    {
        *("api_base", "api_key", "api_type", "api_version", "base_url", "custom_llm_provider"),
        *("extra_body", "extra_headers", "fallbacks", "models", "plugins", "provider", "route"),
    }
)

# What a vendor adds around all tool definitions, and around each: for OpenAI and Mistral about
# 30 in total, for Anthropic up to 804 and up to about 50 per tool (translated requests are
# measured here too): https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview
TOOLS_FRAME_TOKENS: Final = 1024
TOOL_FRAME_TOKENS: Final = 64
_STANDARD_TIERS: Final = (None, "auto", "default", "standard_only", "on_demand")


@frozen
class Arrival:
    """A request as received: its strictly parsed body, its headers and path.

    `raw` is the body if an Idempotency-Key came with it, for comparing repeats, else empty.
    `headers` are by lower-case name; `dimensions` are merged with those that the key is locked to.
    `named` is a model named in the path, `streams` whether the path requests a stream, `ids` are
    those in the path. `path` includes the query.
    """

    raw: bytes
    fields: dict[str, Any]
    headers: Mapping[str, str]
    dimensions: Dimensions
    idempotency_key: str | None = None
    named: str | None = None
    streams: bool | None = None
    path: str = ""
    method: str = "POST"
    ids: tuple[str, ...] = ()

    def call(self, body: RequestBody, usage_bound: UsageBound) -> Call:
        """Return the Call of this arrival. Raises Refused."""
        return Call(
            model=model_in(self.fields) if self.named is None else self.named,
            body=body,
            identity=self.identity,
            usage_bound=usage_bound,
            stream=self.is_streamed(),
            dimensions=self.dimensions,
            idempotency_key=self.idempotency_key,
        )

    def whole_call(self, body: RequestBody, usage_bound: UsageBound) -> Call:
        """Return the Call of an arrival that is never streamed, whatever its body requests."""
        return replace(self, streams=False).call(body, usage_bound)

    def identity(self) -> bytes:
        """Return the unchanged request with its dimensions, for comparing idempotent repeats."""
        dimensions = orjson.dumps(self.dimensions.as_dict())
        method = b"" if self.method == "POST" else self.method.encode()
        return b"\0".join((method + self.path.encode(), dimensions, self.raw))

    def is_streamed(self) -> bool:
        """Whether a stream is requested. Raises Refused."""
        if self.streams is not None:
            return self.streams
        return self.fields.get("stream") is not None and flag(self.fields, "stream")


def fields_of(body: bytes) -> dict[str, Any]:
    """Parse a body as a JSON object that `orjson` can write again. Raises Refused."""
    fields = object_in(body)
    if b"\\ud" in body or b"\\uD" in body:
        _check_surrogates(fields)
    return fields


def text_in(fields: Mapping[str, Any], name: str, where: str) -> str | None:
    """Return a string that may be absent or null. Raises Refused, which names the field."""
    value = fields.get(name)
    if not isinstance(value, str | None):
        raise invalid(f"{where} must be a string")
    return value


def texts_in(fields: Mapping[str, Any], name: str) -> list[str]:
    """Return a list of strings, empty if absent or null. Raises Refused, which names the field."""
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise invalid(f"{name} must be a list of strings")
    return value


def refuse_elsewhere(fields: Mapping[str, Any]) -> None:
    """Refuse fields that could change who pays or where the call goes."""
    for name in fields.keys() & ELSEWHERE:
        raise invalid(f"{name} is not supported: it could change where the call goes or who pays")


def refuse(fields: Mapping[str, Any], sentences: Mapping[str, str]) -> None:
    """Refuse each field that has a sentence and a non-empty value."""
    for name in fields.keys() & sentences.keys():
        if fields[name] not in (None, False, [], {}):
            raise invalid(sentences[name])


def whole(fields: Mapping[str, Any], name: str, *, least: int = 1) -> int | None:
    """Return an integer that may be absent or null. Raises Refused."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one kind of number
    if type(value) is not int or not least <= value <= TOKENS_MAX:
        raise invalid(f"{name} must be an integer between {least} and {TOKENS_MAX}")
    return value


def objects(fields: Mapping[str, Any], name: str, *, most: int = 10_000) -> list[dict[str, Any]]:
    """Return a list of objects, empty if absent or null. Raises Refused."""
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise invalid(f"{name} must be a list of objects")
    if len(value) > most:
        raise invalid(f"{name} must have at most {most} entries")
    return value


def text_of(value: object) -> str:
    """Return a JSON value as text for counting: at least what a vendor reads."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def others(fields: Mapping[str, Any], known: Collection[str]) -> tuple[str, ...]:
    """Return unknown fields as texts: they are forwarded, and may become part of the prompt."""
    return tuple(
        text_of(value) for name, value in fields.items() if name not in known and value is not None
    )


def not_served(model_id: str, path: str, instead: str) -> Refused:
    """Return the refusal of a model that this path does not support."""
    return invalid(f"Model {model_id} is not available at {path}; use {instead}")


def _check_surrogates(value: object) -> None:
    place = place_of(value, lambda each: isinstance(each, str) and _has_half_a_pair(each))
    if place is not None:
        raise invalid(f"{place} must not contain half of a surrogate pair")


def _has_half_a_pair(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def tier_in(fields: Mapping[str, Any]) -> str:
    """Return the service tier that decides the price; auto, default and Groq's on_demand are
    standard.

    One without a price is sent as it was asked for, and is refused where a limit applies.
    """
    tier = word_in(fields, "service_tier")
    return STANDARD_TIER if tier in _STANDARD_TIERS else tier


def word_in(fields: Mapping[str, Any], name: str) -> str | None:
    """Return a short name that may be absent or null, such as a tier. Raises Refused."""
    word = text_in(fields, name, name)
    if word is not None and not (word.isprintable() and len(word) <= WORD_MAX_CHARS):
        raise invalid(f"{name} must have at most {WORD_MAX_CHARS} printable characters")
    return (word or "").strip() or None
