"""The endpoints of Anthropic's and Google's own clients, from the wire to the rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from costs.models import CostEvent
from tests.fake_provider import FakeProvider
from tests.fake_provider.vendors import KEYS
from tests.gateway.attempts import row_of
from tests.gateway.conftest import Asking
from tests.gateway.http.vendor_apis import (
    FLASH,
    GENERATE,
    MESSAGES,
    PROMPT,
    Api,
    both_ways,
    directly,
    error_in,
    every_api,
)
from tests.gateway.wire import Reply

pytestmark = pytest.mark.django_db(transaction=True)

EUR: Final = 10**9


# --- relayed ----------------------------------------------------------------------------------


@every_api
@both_ways
def test_answer_is_relayed_byte_for_byte_and_charged(
    ask: Asking, vendors: FakeProvider, api: Api, stream: bool
) -> None:
    reply = ask(**api.asking(stream=stream))
    assert reply.status == 200
    assert reply.headers["content-type"].startswith(
        "text/event-stream" if stream else "application/json"
    )
    row = row_of(reply)
    assert (row.status, row.provider, row.model, row.stream) == (
        "ok",
        api.vendor,
        api.model,
        stream,
    )
    words = len(PROMPT.split(" "))
    assert (row.input_tokens, row.output_tokens) == (words + 2, words)
    event = CostEvent.objects.get()
    assert event.amount_nanoeur == row.cost_nanoeur
    assert 0 < event.amount_nanoeur <= (row.hold_nanoeur or 0)
    if not stream:
        assert float(reply.headers["x-pulse-cost-eur"]) == event.amount_nanoeur / EUR
    assert reply.body == directly(vendors, api, stream=stream)


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("", "application/json"),
        ("?alt=sse", "text/event-stream"),
        ("?$alt=sse", "text/event-stream"),
    ],
)
def test_stream_of_google_is_in_asked_form(
    ask: Asking, vendors: FakeProvider, query: str, kind: str
) -> None:
    reply = ask(GENERATE.body, path=f"/v1beta/models/{FLASH}:streamGenerateContent{query}")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith(kind)


@every_api
@both_ways
def test_vendor_gets_its_own_key_and_no_client_headers(
    ask: Asking, vendors: FakeProvider, api_key: str, api: Api, stream: bool
) -> None:
    headers = {api.key_header: api_key, "x-pulse-team-id": "t", "cookie": "a=b", "x-more": "m"}
    reply = ask(**api.asking(stream=stream), key="", headers=headers)
    assert reply.status == 200
    assert row_of(reply).team_id == "t"
    [call] = vendors.calls
    sent = json.dumps([call.headers, call.path])
    assert KEYS[api.vendor] in sent
    assert api_key not in sent
    assert not {"cookie", "x-more", "x-pulse-team-id"} & call.headers.keys()


@every_api
def test_unknown_field_is_forwarded(ask: Asking, vendors: FakeProvider, api: Api) -> None:
    unheard_of = {"of": ["tomorrow", 1.5, None]}
    assert ask(**api.asking(unheard_of=unheard_of)).status == 200
    [call] = vendors.calls
    assert call.body["unheard_of"] == unheard_of


@every_api
@both_ways
def test_forwarded_model_name_is_vendors(
    ask: Asking, vendors: FakeProvider, api: Api, stream: bool
) -> None:
    for spelled in (api.model.upper(), f"{api.vendor}/{api.model}"):
        asked = api.asking(stream=stream)
        asked["path"] = asked["path"].replace(FLASH, spelled)
        if "model" in asked["body"]:
            asked["body"]["model"] = spelled
        assert ask(**asked).status == 200
    for call in vendors.calls:
        assert api.model == call.body.get("model", FLASH)
        assert api.model in call.path or "model" in call.body


def test_same_conversation_has_same_hash_on_every_endpoint(
    ask: Asking, vendors: FakeProvider
) -> None:
    pairs = [{"role": "system", "content": "Be brief"}, {"role": "user", "content": PROMPT}]
    asked: list[dict[str, Any]] = [
        {"body": {"model": "sandbox-small", "messages": pairs}},
        {"body": {"model": "gpt-4o", "messages": pairs}, "path": "/v1/chat/completions"},
        MESSAGES.asking(),
        MESSAGES.asking(stream=True),
        GENERATE.asking(),
        GENERATE.asking(stream=True),
    ]
    replies = [ask(**each) for each in asked]
    assert [reply.status for reply in replies] == [200] * len(asked)
    assert len({row_of(reply).prompt_hash for reply in replies}) == 1


# --- refused ----------------------------------------------------------------------------------


@every_api
@both_ways
def test_refusal_is_in_clients_format_and_calls_no_provider(
    ask: Asking, vendors: FakeProvider, limited: Callable[..., None], api: Api, stream: bool
) -> None:
    limited(blocked_models=[api.model])
    reply = ask(**api.asking(stream=stream))
    sentence = f'Model {api.model} is blocked by policy "P"'
    kind = "invalid_request_error" if api is MESSAGES else "INVALID_ARGUMENT"
    assert (reply.status, error_in(api, reply)) == (400, (kind, sentence))
    assert reply.headers["x-pulse-error-code"] == "model_blocked"
    assert (row_of(reply).status, row_of(reply).code) == ("blocked", "model_blocked")
    assert vendors.calls == []


@every_api
def test_each_status_has_clients_error_type(ask: Asking, vendors: FakeProvider, api: Api) -> None:
    wrong: list[tuple[Reply, int, str, str]] = [
        (ask(**api.asking(), key="pulse_x"), 401, "authentication_error", "UNAUTHENTICATED"),
        (ask(**api.asking(), key=""), 401, "authentication_error", "UNAUTHENTICATED"),
        (ask(path=api.plain, body=b"{"), 400, "invalid_request_error", "INVALID_ARGUMENT"),
        (ask(path=api.plain, body=[]), 400, "invalid_request_error", "INVALID_ARGUMENT"),
        (
            ask(**api.asking(), headers={"content-type": "text/plain"}),
            415,
            "invalid_request_error",
            "INVALID_ARGUMENT",
        ),
        (
            ask(**api.asking(), headers={api.key_header: "another"}),
            400,
            "invalid_request_error",
            "INVALID_ARGUMENT",
        ),
        (
            ask(path=api.plain, body=b" " * (32 * 2**20 + 1)),
            413,
            "request_too_large",
            "INVALID_ARGUMENT",
        ),
    ]
    for reply, status, anthropic, google in wrong:
        kind, message = error_in(api, reply)
        assert (reply.status, kind) == (status, anthropic if api is MESSAGES else google)
        assert message
    assert vendors.calls == []


@every_api
@both_ways
def test_vendors_error_keeps_its_status_and_message(
    ask: Asking, vendors: FakeProvider, api: Api, stream: bool
) -> None:
    for status in (400, 404, 429, 503, 529):
        vendors.answers(status=status, headers={"retry-after": "7"})
        reply = ask(**api.asking(stream=stream))
        assert reply.status == status
        assert reply.headers["x-pulse-error-code"].startswith("provider_")
        assert f"The fake provider answers {status}" in reply.body.decode()
        assert reply.headers["retry-after"] == "7"
        row = row_of(reply)
        assert (row.status, row.cost_nanoeur) == ("error", 0)


@every_api
def test_repeat_is_refused_without_client_retries(
    ask: Asking, vendors: FakeProvider, api: Api
) -> None:
    key = {"idempotency-key": "once"}
    assert ask(**api.asking(), headers=key).status == 200
    again = ask(**api.asking(), headers=key)
    kind, _ = error_in(api, again)
    assert (again.status, kind) == (409, "conflict_error" if api is MESSAGES else "ABORTED")
    assert again.headers["x-should-retry"] == "false"
    assert len(vendors.calls) == 1


@pytest.mark.parametrize("name", ["gpt-4o", "mistral-large-latest", "sandbox-small"])
def test_other_vendors_model_is_refused_with_its_endpoint(
    ask: Asking, vendors: FakeProvider, name: str
) -> None:
    for api in (MESSAGES, GENERATE):
        for path in (api.plain, api.streamed, api.counted):
            body = api.body | ({"model": name} if api is MESSAGES else {})
            reply = ask(path=path.replace(FLASH, name), body=body)
            _, message = error_in(api, reply)
            assert reply.status == 400
            assert message.endswith("use /v1/chat/completions")
    assert vendors.calls == []


@pytest.mark.parametrize(
    "name",
    [
        *("no-such-model", "gemini-..", "gemini-2.0-flash/../../x", "gemini-x:y", "gemini-\0"),
        *("tunedModels/x", "gemini-2.0-flash\n", "x" * 300, "gemini-2.0-flash?x", "%2e%2e"),
    ],
)
def test_model_name_cannot_change_upstream_path(
    ask: Asking, vendors: FakeProvider, name: str
) -> None:
    for method in ("generateContent", "streamGenerateContent", "countTokens"):
        reply = ask(path=f"/v1beta/models/{name}:{method}", body=GENERATE.body)
        assert reply.status in {400, 403, 404, 405}, (name, method)
    assert vendors.calls == []


def test_key_in_query_string_is_never_accepted(
    ask: Asking, vendors: FakeProvider, api_key: str
) -> None:
    path = f"{GENERATE.plain}?key={api_key}"
    assert ask(path=path, body=GENERATE.body, key="").status == 401
    reply = ask(path=path, body=GENERATE.body)
    assert reply.status == 400
    assert api_key not in reply.body.decode()
    assert vendors.calls == []


def test_only_documented_post_methods_exist(ask: Asking) -> None:
    assert ask(method="GET", path=f"/v1/models/{FLASH}:predict").status == 404
    assert ask(path=f"/v1/models/{FLASH}:predict", body=GENERATE.body).status == 404
    assert ask(method="GET", path=GENERATE.plain).status == 405


# --- bounded ----------------------------------------------------------------------------------


@every_api
@both_ways
def test_cap_is_within_policy_tokens(
    ask: Asking, vendors: FakeProvider, limited: Callable[..., None], api: Api, stream: bool
) -> None:
    limited(max_tokens_per_request=500)
    if api is GENERATE:  # the other API requires the caller's cap
        reply = ask(**api.asking(stream=stream, generationConfig=None))
        assert reply.status == 200
        [call] = vendors.calls
        assert 400 < call.body["generationConfig"]["maxOutputTokens"] < 500
    asked = (
        {"max_tokens": 501} if api is MESSAGES else {"generationConfig": {"maxOutputTokens": 501}}
    )
    refused = ask(**api.asking(stream=stream, **asked))
    assert (refused.status, refused.headers["x-pulse-error-code"]) == (400, "token_limit")


UNBOUNDED: Final = {
    MESSAGES.vendor: {"type": "of_tomorrow", "name": "it"},
    GENERATE.vendor: {"codeExecution": {}},
}


@every_api
def test_unbounded_request_is_refused_only_if_limit_applies(
    ask: Asking, vendors: FakeProvider, limited: Callable[..., None], api: Api
) -> None:
    asked = api.asking(tools=[UNBOUNDED[api.vendor]])
    assert ask(**asked).status == 200
    limited(max_cost_per_day_nanoeur=1000 * EUR)
    reply = ask(**asked)
    assert (reply.status, reply.headers["x-pulse-error-code"]) == (400, "invalid_request")
    assert "where a limit applies" in error_in(api, reply)[1]
    assert len(vendors.calls) == 1


def test_bounded_searches_are_held_and_charged(
    ask: Asking, vendors: FakeProvider, limited: Callable[..., None]
) -> None:
    limited(max_cost_per_day_nanoeur=1000 * EUR)
    usage = {"input_tokens": 9, "output_tokens": 2, "server_tool_use": {"web_search_requests": 2}}
    vendors.answers(usage=usage, vendor="anthropic")
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    row = row_of(ask(**MESSAGES.asking(tools=[tool])))
    fee, read = 2 * EUR // 20, 3 * 20_000 * 3_000
    assert fee + read < (row.hold_nanoeur or 0) * 1.1 < fee + 2 * read
    assert (row.cost_nanoeur or 0) > fee // 1.1
