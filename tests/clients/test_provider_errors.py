"""What the vendors' own clients raise, show and repeat when a provider fails behind the gateway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import anthropic
import openai
import pytest
from anthropic._exceptions import OverloadedError
from google import genai
from google.genai import errors as google_errors
from google.genai import types
from mistralai.client import Mistral
from mistralai.client.errors import SDKError

from tests.clients.callers import CALLERS, Caller, status_of
from tests.clients.questions import PROMPT, chat_turns
from tests.clients.targets import MODELS, Target
from tests.system.rows import Rows
from tests.system.upstream import Upstream

CAP = 100
RETRIES = 2  # the default of OpenAI's and Anthropic's clients
HTML = "<html><body>Error 520</body></html>"
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
FOREVER = 0
BY_NAME = pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.name)


def _openai(target: Target, model: str = MODELS["openai"], *, stream: bool = False) -> Any:
    with openai.OpenAI(
        base_url=target.base_url("openai"), api_key=target.key, max_retries=RETRIES
    ) as client:
        question: dict[str, Any] = {"model": model, "messages": chat_turns(), "max_tokens": CAP}
        return client.chat.completions.create(**question, stream=stream)


def _anthropic(target: Target) -> Any:
    url = target.base_url("anthropic")
    with anthropic.Anthropic(base_url=url, api_key=target.key, max_retries=RETRIES) as client:
        return client.messages.create(
            model=MODELS["anthropic"],
            max_tokens=CAP,
            messages=[{"role": "user", "content": PROMPT}],
        )


def _openai_to_claude(target: Target) -> Any:
    return _openai(target, MODELS["anthropic"])


def _openai_streamed(target: Target) -> Any:
    return _openai(target, stream=True)


RETRYING = pytest.mark.parametrize(
    "ask", [_openai, _openai_streamed, _anthropic, _openai_to_claude]
)
UNKNOWN: dict[str, dict[str, Any]] = {
    "its own 504": {"status": 504},
    "its own 408": {"status": 408},
    "a proxy's 504": {"status": 504, "body": HTML},
    "a proxy's 502": {"status": 502, "body": HTML},
    "a proxy's 520": {"status": 520, "body": HTML, "headers": {"x-should-retry": "true"}},
    "a reset": {"reset": "after"},
}


@RETRYING
@pytest.mark.parametrize("behaviour", UNKNOWN.values(), ids=list(UNKNOWN))
def test_unknown_outcome_is_not_retried(
    gateway: Target, upstream: Upstream, ask: Callable[[Target], Any], behaviour: dict[str, Any]
) -> None:
    upstream.answers({"times": FOREVER, **behaviour})
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)):
        ask(gateway)
    assert len(upstream.calls()) == 1


@RETRYING
@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_own_error_is_retried_like_directly(
    gateway: Target, upstream: Upstream, ask: Callable[[Target], Any], status: int
) -> None:
    upstream.answers({"status": status})
    ask(gateway)
    assert len(upstream.calls()) == 2


@RETRYING
def test_vendors_should_retry_is_obeyed(
    gateway: Target, upstream: Upstream, ask: Callable[[Target], Any]
) -> None:
    upstream.answers({"times": FOREVER, "status": 503, "headers": {"x-should-retry": "false"}})
    with pytest.raises((openai.InternalServerError, anthropic.APIStatusError)):
        ask(gateway)
    assert len(upstream.calls()) == 1


@RETRYING
def test_refused_key_is_not_retried(
    gateway: Target, upstream: Upstream, ask: Callable[[Target], Any]
) -> None:
    upstream.answers({"times": FOREVER, "status": 401})
    with pytest.raises((openai.InternalServerError, anthropic.InternalServerError)) as raised:
        ask(gateway)
    assert status_of(raised.value) == 502
    assert "refused the credentials of this gateway" in str(raised.value)
    assert len(upstream.calls()) == 1


@BY_NAME
@pytest.mark.parametrize("status", [401, 403])
def test_refused_key_is_server_error_to_every_client(
    gateway: Target, upstream: Upstream, caller: Caller, status: int
) -> None:
    upstream.answers({"status": status})
    with pytest.raises(caller.error_class(502)) as raised:
        caller.ask(gateway, MODELS[caller.vendor], CAP)
    assert status_of(raised.value) == 502
    assert f"refused the credentials of this gateway (status {status})" in str(raised.value)


def test_overload_raises_anthropics_own_class(gateway: Target, upstream: Upstream) -> None:
    upstream.answers({"times": FOREVER, "status": 529, "body": OVERLOADED})
    with pytest.raises(OverloadedError) as raised:
        _anthropic(gateway)
    assert raised.value.status_code == 529
    assert raised.value.body == OVERLOADED


def test_translated_overload_keeps_status_and_type(gateway: Target, upstream: Upstream) -> None:
    upstream.answers({"times": FOREVER, "status": 529, "body": OVERLOADED})
    with pytest.raises(openai.InternalServerError) as raised:
        _openai_to_claude(gateway)
    error = raised.value
    assert (error.status_code, error.type, error.code) == (
        529,
        "overloaded_error",
        "provider_error",
    )
    assert error.message == "Error code: 529 - Overloaded"


# --- request ids --------------------------------------------------------------------------------


def test_openai_shows_gateways_id(gateway: Target, upstream: Upstream, rows: Rows) -> None:
    assert _known(rows, _openai(gateway)._request_id)
    upstream.answers({"status": 400, "headers": {"x-request-id": "req_of_the_vendor"}})
    with pytest.raises(openai.BadRequestError) as raised:
        _openai(gateway)
    assert _known(rows, raised.value.request_id)
    own_id = raised.value.response.headers["x-pulse-upstream-request-id"]
    assert own_id == "req_of_the_vendor"


def test_anthropic_shows_gateways_id(gateway: Target, upstream: Upstream, rows: Rows) -> None:
    assert _known(rows, _anthropic(gateway)._request_id)
    upstream.answers({"status": 400, "headers": {"request-id": "req_of_the_vendor"}})
    with pytest.raises(anthropic.BadRequestError) as raised:
        _anthropic(gateway)
    assert _known(rows, raised.value.request_id)
    assert raised.value.response.headers["x-pulse-upstream-request-id"] == "req_of_the_vendor"


def test_google_has_gateways_id_in_headers(gateway: Target, upstream: Upstream, rows: Rows) -> None:
    options = types.HttpOptions(base_url=gateway.base_url("google"))
    client = genai.Client(api_key=gateway.key, http_options=options)
    try:
        answer = client.models.generate_content(model=MODELS["google"], contents=PROMPT)
        assert answer.sdk_http_response and answer.sdk_http_response.headers
        assert _known(rows, answer.sdk_http_response.headers["x-request-id"])
        upstream.answers({"status": 400})
        with pytest.raises(google_errors.ClientError) as raised:
            client.models.generate_content(model=MODELS["google"], contents=PROMPT)
        assert _known(rows, raised.value.response.headers["x-request-id"])
    finally:
        client.close()


def test_mistral_has_gateways_id_in_headers(
    gateway: Target, upstream: Upstream, rows: Rows
) -> None:
    headers = {"mistral-correlation-id": "0193e4a0-0000-7000-8000-000000000000"}
    upstream.answers({"status": 400, "headers": headers})
    with (
        Mistral(api_key=gateway.key, server_url=gateway.base_url("mistral")) as client,
        pytest.raises(SDKError) as raised,
    ):
        client.chat.complete(model=MODELS["mistral"], messages=chat_turns())
    assert _known(rows, raised.value.headers["x-request-id"])
    assert (
        raised.value.headers["x-pulse-upstream-request-id"]
        == "0193e4a0-0000-7000-8000-000000000000"
    )


def test_unauthenticated_client_shows_request_id(gateway: Target) -> None:
    stranger = Target(gateway.base_urls, "pulse_unknown")
    with pytest.raises(openai.AuthenticationError) as no_openai:
        _openai(stranger)
    with pytest.raises(anthropic.AuthenticationError) as no_anthropic:
        _anthropic(stranger)
    assert no_openai.value.request_id
    assert no_anthropic.value.request_id


def _known(rows: Rows, request_id: str | None) -> bool:
    """Whether the id is that of an audit row."""
    known = {UUID(str(id_)) for (id_,) in rows.query("SELECT id FROM ai_request_log")}
    return UUID(request_id) in known
