"""Any chat completion becomes a request that Gemini accepts, or is refused with a sentence."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final, cast

from hypothesis import given

from gateway.apis.chat.chat import ChatCompletions
from gateway.apis.families.fitting import fitted
from gateway.core.calls import ProviderCall
from gateway.core.errors import Refused, Unreachable
from gateway.core.usage_bound import OutputCap
from gateway.providers.adapters.google import Google
from gateway.providers.vendors import vendors
from gateway.upstream.http_client import HttpClient, NotSent
from tests.gateway.arrivals import NAMES, read
from tests.gateway.translating import CATALOG, model_of
from tests.vendor_rules.google.body import faults
from tests.vendor_rules.requests import chat_requests

MODELS: Final = [
    *sorted(
        model.id
        for model in {id(each): each for each in CATALOG.by_name.values()}.values()
        if model.provider == "google" and not model.makes_embeddings
    ),
    *("gemma-3-27b-it", "gemini-1.5-pro-002"),
]


_FILES: Final = ("inlineData", "fileData")
_SPELLED: Final = {
    "mime_type": "mimeType",
    "file_uri": "fileUri",
    "parameters_json_schema": "parametersJsonSchema",
    "thinking_budget": "thinkingBudget",
    "thinking_level": "thinkingLevel",
    "allowed_function_names": "allowedFunctionNames",
}


class Wire:
    """In place of the HTTP client: keeps the body of the last request, and sends none."""

    body: bytes | None = None

    async def send(self, *_: object, body: bytes, **__: object) -> object:
        """Keep the body."""
        self.body = body
        raise NotSent("nothing is sent in this test")


def sent(fields: dict[str, Any]) -> tuple[dict[str, Any], ProviderCall]:
    """Return the request as the vendor's own SDK sends it, and the fitted call.

    The cap is the caller's, else one that is written.
    """
    model = model_of(fields["model"])
    call = read(ChatCompletions(), fields)
    output = call.usage_bound.output
    assert output is not None
    cap = OutputCap(output.max_tokens or model.default_output_tokens, is_written=True)
    outgoing = call.body.outgoing(model, cap, timeout_s=1, names=NAMES)
    assert isinstance(outgoing, ProviderCall)
    made = fitted(outgoing, model.provider)
    return on_wire(made), made


def on_wire(call: ProviderCall) -> dict[str, Any]:
    """Return the body of a call as the vendor's own SDK sends it."""
    wire = Wire()
    google = Google(vendors()["google"].configured("AIza", None), cast(HttpClient, wire))
    try:
        asyncio.run(google.complete(call))
    except Unreachable:
        assert wire.body is not None
    body: dict[str, Any] = json.loads(wire.body or b"null")
    for content in body["contents"]:
        content["parts"] = [
            {name: _spelled(value) if name in _FILES else value for name, value in part.items()}
            for part in content["parts"]
        ]
    for holder, name in (
        (body.get("generationConfig", {}), "thinkingConfig"),
        (body.get("toolConfig", {}), "functionCallingConfig"),
    ):
        if name in holder:
            holder[name] = _spelled(holder[name])
    for tool in body.get("tools", []):
        tool["functionDeclarations"] = [_spelled(each) for each in tool["functionDeclarations"]]
    return body


def _spelled(fields: dict[str, Any]) -> dict[str, Any]:
    """Return an object with the names that the SDK writes otherwise in the API's first spelling.

    https://protobuf.dev/programming-guides/json/: parsers accept both names of a field.
    """
    return {_SPELLED.get(name, name): value for name, value in fields.items()}


@given(fields=chat_requests(MODELS))
def test_any_request_is_accepted_or_refused_with_sentence(fields: dict[str, Any]) -> None:
    try:
        body, call = sent(fields)
    except Refused as refused:
        assert refused.status == 400
        assert refused.message.strip()
        return
    assert faults(body, fields["model"]) == [], call.adjustments
    if call.tool_names:
        own = {tool["function"]["name"] for tool in fields.get("tools", [])}
        called = {
            c["function"]["name"] for m in fields["messages"] for c in m.get("tool_calls", ())
        }
        assert set(call.tool_names.values()) <= own | called
