"""What every dialect reads alike: the parsed body, its numbers, and what none of them takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from gateway.core import strict_json
from gateway.core.calls import Call, Dimensions, RequestBody
from gateway.core.errors import Refused
from gateway.core.request_body import TOKENS_MAX, flag, invalid, model_in
from gateway.core.strict_json import quoted
from gateway.core.usage_bound import UsageBound
from orgs.core.frozen import frozen

# Fields by which servers that resemble OpenAI's are told to go elsewhere, or to use other keys.
ELSEWHERE: Final = frozenset(
    {
        *("api_base", "api_key", "api_type", "api_version", "base_url", "custom_llm_provider"),
        *("extra_body", "extra_headers", "fallbacks", "models", "plugins", "provider", "route"),
    }
)

# What a vendor writes around the definitions of tools, and around each: for OpenAI and Mistral
# some 30 in all, for Anthropic up to 804 and up to some 50 a tool (translated requests are
# measured here too): https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview
TOOLS_FRAME_TOKENS: Final = 1024
TOOL_FRAME_TOKENS: Final = 64


@frozen
class Arrival:
    """A request as it came: its body, parsed strictly, and what is said outside of it.

    `headers` are the caller's, by lower-case name; `dimensions` are within what its key fixes.
    `named` is a model named in the address, `streams` whether the address asks for a stream.
    """

    raw: bytes
    fields: dict[str, Any]
    headers: Mapping[str, str]
    dimensions: Dimensions
    idempotency_key: str | None = None
    named: str | None = None
    streams: bool | None = None
    path: str = ""

    def call(self, body: RequestBody, usage_bound: UsageBound) -> Call:
        """Return the Call of this arrival. Raises Refused."""
        return Call(
            model=model_in(self.fields) if self.named is None else self.named,
            body=body,
            usage_bound=usage_bound,
            stream=self.is_streamed(),
            dimensions=self.dimensions,
            idempotency_key=self.idempotency_key,
        )

    def whole_call(self, body: RequestBody, usage_bound: UsageBound) -> Call:
        """Return the Call of an arrival whose answer comes whole, whatever its body says."""
        return replace(self, streams=False).call(body, usage_bound)

    def identity(self) -> bytes:
        """Return the request as it came, with who it is counted for: alike in a repeat."""
        said = orjson.dumps(self.dimensions.as_dict())
        return b"\0".join((self.path.encode(), said, self.raw))

    def is_streamed(self) -> bool:
        """Whether the answer is asked for in pieces. Raises Refused."""
        if self.streams is not None:
            return self.streams
        return self.fields.get("stream") is not None and flag(self.fields, "stream")


def fields_of(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is. Raises Refused."""
    try:
        fields = strict_json.loads(body)
    except strict_json.NotStrictJson as exc:
        raise invalid(str(exc)) from exc
    if not isinstance(fields, dict):
        raise invalid("The body is a JSON object")
    if b"\\ud" in body or b"\\uD" in body:
        _check_surrogates(fields)
    return fields


def refuse_elsewhere(fields: Mapping[str, Any]) -> None:
    """Refuse fields that could change who pays or where the call goes."""
    for name in fields.keys() & ELSEWHERE:
        raise invalid(f"{name} could change where the call goes or who pays; it is not taken")


def refuse(fields: Mapping[str, Any], sentences: Mapping[str, str]) -> None:
    """Refuse each field that has a sentence and says something."""
    for name in fields.keys() & sentences.keys():
        if fields[name] not in (None, False, [], {}):
            raise invalid(sentences[name])


def whole(fields: Mapping[str, Any], name: str, *, least: int = 1) -> int | None:
    """Return a whole number that may be absent or null. Raises Refused."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one kind of number
    if type(value) is not int or not least <= value <= TOKENS_MAX:
        raise invalid(f"{name} is a whole number from {least} to {TOKENS_MAX}")
    return value


def objects(fields: Mapping[str, Any], name: str, *, most: int = 10_000) -> list[dict[str, Any]]:
    """Return a list of objects, empty where it is absent or null. Raises Refused."""
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise invalid(f"{name} is a list of objects")
    if len(value) > most:
        raise invalid(f"{name} has at most {most} entries")
    return value


def text_of(value: object) -> str:
    """Return a JSON value as the text that is counted for it: at least what a vendor reads."""
    try:
        return value if isinstance(value, str) else orjson.dumps(value).decode()
    except TypeError as exc:  # an integer above 64 bits
        raise invalid("The body has a number that is too large") from exc


def others(fields: Mapping[str, Any], known: Collection[str]) -> tuple[str, ...]:
    """Return as texts what a dialect does not know: it is kept, and may become a prompt."""
    return tuple(
        text_of(value) for name, value in fields.items() if name not in known and value is not None
    )


def dumped(fields: Mapping[str, Any]) -> bytes:
    """Return a body as it goes out. Raises Refused."""
    try:
        return orjson.dumps(fields)
    except TypeError as exc:
        raise invalid("The body has a number that is too large") from exc


def not_served(model_id: str, path: str, instead: str) -> Refused:
    """Return the refusal of a model that this address does not have."""
    return invalid(f"Model {model_id} is not served at {path}; use {instead}")


def _check_surrogates(value: object) -> None:
    try:
        orjson.dumps(value)
    except TypeError as exc:
        raise invalid(f"The body cannot be sent on: {quoted(str(exc))}") from exc


def tier_in(fields: Mapping[str, Any]) -> str:
    """Return the service tier that decides the price; the project's own choice is none."""
    tier = fields.get("service_tier")
    if tier in (None, "auto", "default", "standard_only", "standard"):
        return "standard"
    if not isinstance(tier, str):
        raise invalid("service_tier is a string")
    return tier
