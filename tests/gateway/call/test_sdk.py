"""AI requests from Django code: the same answers, refusals and rows as over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async

from costs.models import CostEvent, Hold
from gateway.call.call_loop import CallLoop
from gateway.call.runtime import Gateway
from gateway.call.sdk import AiResponse, aai_request, aai_stream, ai_request, ai_stream
from gateway.core.errors import Broken, RateLimited
from gateway.models import AiRequestLog
from orgs.models import Organization, User
from tests.factories import PolicyFactory
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import Only, StandIn, until

pytestmark = pytest.mark.django_db(transaction=True)

Arguments = dict[str, Any]


@pytest.fixture
def asked(gateway: Gateway, acme: Organization, member_user: User, prices: object) -> Arguments:
    """The arguments of a request."""
    return {
        "org_id": acme.id,
        "actor_user_id": member_user.id,
        "model": "sandbox-small",
        "input": "Say hello",
    }


def from_sync(asked: Arguments) -> AiResponse:
    return ai_request(**asked)


def from_async(asked: Arguments) -> AiResponse:
    return asyncio.run(aai_request(**asked))


def from_sync_stream(asked: Arguments) -> AiResponse:
    *pieces, end = ai_stream(**asked)
    return _whole(pieces, end)


def from_async_stream(asked: Arguments) -> AiResponse:
    async def read() -> list[str | AiResponse]:
        return [piece async for piece in aai_stream(**asked)]

    *pieces, end = asyncio.run(read())
    return _whole(pieces, end)


def _whole(pieces: list[str | AiResponse], end: str | AiResponse) -> AiResponse:
    assert isinstance(end, AiResponse)
    if end.success:
        assert "".join(str(piece) for piece in pieces) == "Say hello"
        assert len(pieces) > 1
    return end


def from_a_sync_view(asked: Arguments) -> AiResponse:
    """Call from a sync view under the ASGI server, on whose loop calls run."""

    async def served() -> AiResponse:
        call_loop = CallLoop()
        call_loop.adopt_running_loop()
        return await sync_to_async(_at)(call_loop, asked)

    return asyncio.run(served())


def _at(call_loop: CallLoop, asked: Arguments) -> AiResponse:
    gateway = asked["gateway"]
    before, gateway.call_loop = gateway.call_loop, call_loop
    try:
        return ai_request(**{name: asked[name] for name in asked if name != "gateway"})
    finally:
        gateway.call_loop = before


WAYS = [from_sync, from_async, from_sync_stream, from_async_stream]
every_way = pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])


@every_way
def test_answer_equals_api_answer(
    way: Callable[[Arguments], AiResponse], asked: Arguments, acme: Organization
) -> None:
    metadata = {"team_id": "t", "project_id": "p", "app_id": "a", "task_type": "code-review"}
    response = way(asked | {"metadata": metadata, "max_tokens": 1000, "temperature": 0.7})
    assert response.success
    assert (response.error, response.code, response.retry_after_s) == (None, None, None)
    assert (response.provider, response.model) == ("sandbox", "sandbox-small")
    assert response.content == ("" if "stream" in way.__name__ else "Say hello")
    assert (response.input_tokens, response.output_tokens) == (9, 2)
    assert response.finish_reason == "stop"
    assert response.estimated_cost_eur == Decimal("0.000002319")
    assert isinstance(response.estimated_cost_eur, Decimal)
    row = AiRequestLog.objects.get()
    assert (row.id, row.org_id, row.channel) == (response.request_id, acme.id, "sdk")
    assert row.user_id == str(asked["actor_user_id"])
    assert (row.team_id, row.project_id, row.app_id, row.task_type) == tuple(metadata.values())
    assert CostEvent.objects.get().amount_nanoeur == 2_319
    assert not Hold.objects.filter(state=Hold.State.HELD).exists()


@every_way
def test_refusal_is_result_with_api_sentence_and_code(
    way: Callable[[Arguments], AiResponse],
    asked: Arguments,
    acme: Organization,
    ask: Asking,
) -> None:
    PolicyFactory.create(org=acme, name="P", blocked_models=["sandbox-small"])
    PolicyFactory.create(org=acme, name="C", max_cost_per_day_nanoeur=0)
    for model in ("sandbox-small", "sandbox-large", "gpt-99", "no-such"):
        response = way(asked | {"model": model})
        _status, code, error = ask({"model": model, "prompt": "Say hello"}).refusal
        assert not response.success
        assert (response.code, response.error) == (code, error)
        assert response.content is None
        assert AiRequestLog.objects.get(id=response.request_id).status == "blocked"
    Organization.objects.update(ai_gateway_enabled=False)
    assert way(asked).code == "gateway_disabled"


@every_way
def test_failure_is_result(
    way: Callable[[Arguments], AiResponse], asked: Arguments, gateway: Gateway
) -> None:
    gateway.providers = Only(StandIn(pieces=(), failure=RateLimited("slow", retry_after_s=7)))
    response = way(asked)
    assert (response.success, response.code) == (False, "provider_rate_limited")
    assert (response.error, response.retry_after_s) == ("slow", 7)
    gateway.providers = Only(StandIn(pieces=("a", "b"), failure=Broken("cut")))
    assert way(asked).code == "provider_error"
    gateway.is_stopping = True
    assert way(asked).code == "ledger_unavailable"


def test_sync_view_works_under_asgi_server(asked: Arguments, gateway: Gateway) -> None:
    assert from_a_sync_view(asked | {"gateway": gateway}).content == "Say hello"


def test_messages_and_other_spellings_are_accepted(asked: Arguments, acme: Organization) -> None:
    messages = [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}]
    response = ai_request(**asked | {"input": messages, "org_id": str(acme.id)})
    assert response.content == "Hi"
    quiet: Arguments = dict.fromkeys(("actor_user_id", "metadata", "max_tokens", "temperature"))
    assert ai_request(**asked | quiet | {"input": tuple(messages)}).success
    assert AiRequestLog.objects.filter(user_id=None).count() == 1


def test_idempotency_key_is_used_once(asked: Arguments) -> None:
    first = ai_request(**asked, idempotency_key="once")
    again = ai_request(**asked, idempotency_key="once")
    assert (again.success, again.code) == (False, "already_done")
    assert str(first.request_id) in (again.error or "")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"org_id": "not an id"}, ValueError),
        ({"org_id": 5}, TypeError),
        ({"org_id": None}, TypeError),
        ({"model": ""}, ValueError),
        ({"model": 5}, ValueError),
        ({"input": ""}, ValueError),
        ({"input": []}, ValueError),
        ({"input": [{"role": "tool", "content": "x"}]}, ValueError),
        ({"input": [{"role": "user"}]}, ValueError),
        ({"input": None}, TypeError),
        ({"input": b"hi"}, TypeError),
        ({"input": "\ud800"}, ValueError),
        ({"max_tokens": 0}, ValueError),
        ({"temperature": 3}, ValueError),
        ({"metadata": {"teamId": "x"}}, ValueError),
        ({"metadata": {"team_id": 5}}, ValueError),
        ({"metadata": {"team_id": "x" * 129}}, ValueError),
        ({"metadata": {"user_id": "another"}}, ValueError),
        ({"actor_user_id": "x" * 129}, ValueError),
        ({"actor_user_id": "a\x00b"}, ValueError),
        ({"idempotency_key": ""}, ValueError),
        ({"stream": True}, TypeError),
        ({"surprise": 1}, TypeError),
    ],
)
def test_invalid_arguments_raise_without_row(
    asked: Arguments, changes: Arguments, error: type[Exception]
) -> None:
    for function in (ai_request, ai_stream, aai_stream):
        with pytest.raises(error):
            function(**asked | changes)
    with pytest.raises(error):
        from_async(asked | changes)
    assert not AiRequestLog.objects.exists()


def test_required_arguments_are_required(asked: Arguments) -> None:
    for name in ("org_id", "model", "input"):
        less = {key: value for key, value in asked.items() if key != name}
        with pytest.raises(TypeError, match=f"missing argument {name}"):
            from_sync(less)


def test_unknown_organization_is_refused(asked: Arguments) -> None:
    response = from_sync(asked | {"org_id": UUID(int=0)})
    assert (response.success, response.code) == (False, "unauthenticated")
    assert not AiRequestLog.objects.exists()


def test_sync_variants_raise_in_async_code(asked: Arguments) -> None:
    async def wrong() -> None:
        with pytest.raises(RuntimeError, match="await the async variant"):
            ai_request(**asked)
        with pytest.raises(RuntimeError, match="await the async variant"):
            next(ai_stream(**asked))

    asyncio.run(wrong())
    assert not AiRequestLog.objects.exists()


def left_early(gateway: Gateway, provider: StandIn) -> None:
    """Check that the call was abandoned: the provider stopped, the bound charged."""
    until(lambda: not gateway.tasks)
    assert provider.closed.is_set()
    row = AiRequestLog.objects.get()
    assert (row.status, row.code) == ("unknown", "client_disconnected")
    assert row.cost_nanoeur == row.hold_nanoeur


def test_closing_stream_early_abandons_call(asked: Arguments, gateway: Gateway) -> None:
    provider = StandIn(waits=True)
    gateway.providers = Only(provider)
    pieces = ai_stream(**asked)
    assert next(pieces) == "Hello"
    pieces.close()  # type: ignore[attr-defined]  # it is a generator
    left_early(gateway, provider)


def test_closing_async_stream_early_abandons_call(asked: Arguments, gateway: Gateway) -> None:
    provider = StandIn(waits=True)
    gateway.providers = Only(provider)

    async def leave() -> None:
        pieces = aai_stream(**asked)
        assert await anext(pieces) == "Hello"
        await pieces.aclose()  # type: ignore[attr-defined]  # it is an async generator

    asyncio.run(leave())
    left_early(gateway, provider)


def test_cancellation_with_first_piece_abandons_call(asked: Arguments, gateway: Gateway) -> None:
    provider = StandIn(waits=True)
    gateway.providers = Only(provider)

    async def cancelled() -> None:
        pieces = aai_stream(**asked)
        task = asyncio.ensure_future(anext(pieces))
        await asyncio.sleep(0)
        provider.reached.wait()  # holds this loop up, so that the piece waits behind the cancel
        time.sleep(0.1)  # noqa: ASYNC251  the same
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await pieces.aclose()  # type: ignore[attr-defined]  # it is an async generator

    asyncio.run(cancelled())
    left_early(gateway, provider)


def test_cancellation_abandons_call(asked: Arguments, gateway: Gateway) -> None:
    provider = StandIn(waits=True)
    gateway.providers = Only(provider)

    async def cancelled() -> None:
        task = asyncio.create_task(aai_request(**asked))
        await asyncio.to_thread(provider.reached.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    left_early(gateway, provider)
