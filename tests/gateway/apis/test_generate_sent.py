"""generateContent: the request that is sent to Google, and the prompt's hash."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from gateway.apis.generate.generate import COUNT, GENERATE_CONTENT, STREAM, VERSIONS, Generate
from gateway.core.calls import Dimensions, Principal
from gateway.core.errors import Refused
from gateway.core.request_body import call_from_fields
from tests.gateway.arrivals import body_of, model, read, sent

DIALECT = Generate(version="v1beta", method=GENERATE_CONTENT)
COUNTING = Generate(version="v1", method=COUNT)
FLASH = model("gemini-2.0-flash")
ASKED: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


def outgoing(fields: dict[str, Any], *, cap: int | None = None, **more: Any) -> Any:
    return sent(read(DIALECT, fields, named="my-alias", **more), FLASH, cap=cap)


# --- the address ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_request_goes_to_requested_version_and_method(version: str) -> None:
    expected = {
        Generate(version=version, method=GENERATE_CONTENT): "generateContent",
        Generate(version=version, method=STREAM): "streamGenerateContent?alt=sse",
        Generate(version=version, method=STREAM, is_array=True): "streamGenerateContent",
        Generate(version=version, method=COUNT): "countTokens",
    }
    for dialect, ending in expected.items():
        request = sent(read(dialect, ASKED, named="gemini-2.0-flash"), FLASH)
        assert request.path == f"/{version}/models/gemini-2.0-flash:{ending}"


def test_client_query_and_headers_are_not_forwarded() -> None:
    path = "/v1beta/models/x:generateContent?fields=candidates&alt=json&prettyPrint=false"
    headers = {"x-goog-api-key": "pulse_x", "x-goog-user-project": "p", "x-goog-api-client": "c"}
    request = outgoing(ASKED, path=path, headers=headers)
    assert request.path == "/v1beta/models/gemini-2.0-flash:generateContent"
    assert request.headers == {"content-type": "application/json"}


@pytest.mark.parametrize(
    "name",
    [
        *("gemini-../../v1beta/tunedmodels/x", "gemini-x/../y", "gemini-..", "gemini-a:b"),
        *("gemini-%2e%2e", "gemini-x?alt=sse", "gemini-x#y", "gemini-x@y", "gemini-x+y"),
    ],
)
def test_unsafe_model_name_is_not_put_into_path(name: str) -> None:
    for dialect in (DIALECT, COUNTING):
        with pytest.raises(Refused, match="must be usable in a URL path"):
            sent(read(dialect, ASKED, named="x"), replace(FLASH, id=name))


@pytest.mark.parametrize("name", ["gpt-4o", "claude-opus-4-6", "mistral-large"])
def test_other_vendors_model_is_refused(name: str) -> None:
    for dialect in (DIALECT, COUNTING):
        with pytest.raises(Refused) as refused:
            sent(read(dialect, ASKED, named="x"), model(name))
        assert refused.value.status == 400
        assert "is not available at /v1" in refused.value.message


@pytest.mark.parametrize(
    "name", ["gemini-2.5-flash-image", "gemini-3.1-flash-image-preview", "gemini-2.5-flash-image-1"]
)
def test_model_with_image_output_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="images"):
        sent(read(DIALECT, ASKED, named=name), model(name))
    assert sent(read(COUNTING, ASKED, named=name), model(name)).path.endswith(f"{name}:countTokens")


# --- the body ---------------------------------------------------------------------------------


def test_body_is_forwarded_unchanged() -> None:
    more = {
        "unheard_of": {"of_tomorrow": [1.5, None]},
        "safetySettings": [{"category": "x", "threshold": "y"}],
        "generationConfig": {"temperature": 0.5, "also_unheard_of": True},
        "tools": [{"function_declarations": [{"name": "f", "parameters": {"my_key": {}}}]}],
    }
    assert body_of(outgoing(ASKED | more)) == ASKED | more


def test_model_and_tier_fields_are_removed_and_store_is_false() -> None:
    named = {"model": "models/gemini-2.5-pro", "service_tier": "standard", "store": True}
    assert body_of(outgoing(ASKED | named)) == ASKED | {"store": False}


def test_cap_is_written_over_callers() -> None:
    assert body_of(outgoing(ASKED, cap=50))["generationConfig"] == {"maxOutputTokens": 50}
    assert "generationConfig" not in body_of(outgoing(ASKED))
    warm = {"generation_config": {"temperature": 1, "max_output_tokens": None}}
    assert body_of(outgoing(ASKED | warm, cap=50))["generationConfig"] == {
        "temperature": 1,
        "maxOutputTokens": 50,
    }
    for given in ({"maxOutputTokens": 90}, {"max_output_tokens": 90}):
        body = body_of(outgoing(ASKED | {"generation_config": given}, cap=50))
        assert body["generationConfig"] == {"maxOutputTokens": 50}


@pytest.mark.parametrize(
    ("asked", "budget", "sent_budget"), [(90, 60, -1), (90, 49, 49), (50, 60, 60), (None, 60, -1)]
)
def test_thinking_budget_above_lowered_cap_is_left_to_model(
    asked: int | None, budget: int, sent_budget: int
) -> None:
    config = {"maxOutputTokens": asked, "thinking_config": {"thinking_budget": budget}}
    body = body_of(outgoing(ASKED | {"generationConfig": config}, cap=50))
    [sent_thinking] = body["generationConfig"]["thinkingConfig"].values()
    assert body["generationConfig"]["maxOutputTokens"] == 50
    assert sent_thinking == sent_budget


def test_nested_count_request_uses_model_of_path() -> None:
    inner = {**ASKED, "model": "models/gemini-2.5-pro", "generation_config": {"top_k": 1}}
    body = body_of(sent(read(COUNTING, {"generate_content_request": inner}, named="x"), FLASH))
    assert body == {
        "generateContentRequest": {
            **ASKED,
            "model": "models/gemini-2.0-flash",
            "generationConfig": {"topK": 1},
        }
    }
    plain = body_of(sent(read(COUNTING, ASKED | {"model": "models/x"}, named="x"), FLASH))
    assert plain == ASKED


# --- recognised again -------------------------------------------------------------------------

TURNS = [("system", "Be brief"), ("user", "Hello"), ("assistant", "Hi"), ("user", "Bye")]
ANYONE = Principal(org_id=UUID(int=1), fixed=Dimensions(), channel="api")


def test_same_conversation_is_canonically_equal_in_every_api() -> None:
    pairs = [{"role": role, "content": text} for role, text in TURNS]
    api = call_from_fields({"model": "m", "messages": pairs}, principal=ANYONE)
    roles = {"assistant": "model"}
    contents = [
        {"role": roles.get(role, role), "parts": [{"text": text}]} for role, text in TURNS[1:]
    ]
    asked = {"system_instruction": {"parts": {"text": "Be brief"}}, "contents": contents}
    assert read(DIALECT, asked, named="m").body.canonical() == api.body.canonical()
    for counted in (asked, {"generateContentRequest": asked}):
        assert read(COUNTING, counted, named="m").body.canonical() == api.body.canonical()


def test_content_without_role_is_users() -> None:
    alone = {"contents": {"parts": {"text": "Hello"}}}
    assert read(DIALECT, alone, named="m").body.canonical() == [["user", "Hello"]]


def test_non_text_content_is_another_prompt() -> None:
    text, picture = {"text": "Hello"}, {"inlineData": {"mimeType": "image/png", "data": "A"}}
    seen = [
        read(DIALECT, {"contents": [{"role": "user", "parts": given}]}, named="m").body.canonical()
        for given in ([text], [text, picture], [text, text], [text | {"thought": True}])
    ]
    assert all(seen.count(each) == 1 for each in seen)
