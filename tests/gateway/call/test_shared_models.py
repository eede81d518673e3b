"""Rows that serve one model share its calls, and take over those of failing ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from gateway.call.runtime import Gateway
from gateway.models import AiRequestLog, Provider
from gateway.providers.routing.breaker import FAILURES_MAX, OPEN_FIRST_S
from gateway.providers.routing.health import Health
from orgs.models import Organization
from tests.factories import PolicyFactory, ProviderFactory, RateFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import CHAT, CLAUDE, OPENAI, charged, fast, tried, wire
from tests.gateway.conftest import Asking
from tests.gateway.wire import Reply

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

RESPONSES = {"model": OPENAI, "input": "Say hello", "max_output_tokens": 50}
BARE = CHAT | {"model": OPENAI}
BUSY = uuid4()
OUTAGE: dict[str, Any] = {"status": 503}

MakeRow = Callable[..., Provider]


@pytest.fixture
def row(gateway: Gateway, vendors: FakeProvider) -> MakeRow:
    """Return a function that adds a row with OPENAI's price; OpenAI itself has no key."""
    wire(gateway, vendors, openai=None)

    def made(name: str, **fields: Any) -> Provider:
        RateFactory.create(provider=name)
        usual = {
            "title": name,
            "base_url": vendors.base_url("openai"),
            "auth": "bearer",
            "allow_loopback": True,
            "dialects": ["chat", "responses"],
            "family": "openai",
            "secret": f"sk-{name}",
            "names": {OPENAI: _deployment(name)},
            "models": [OPENAI.upper()],
            "weight": 1,
        }
        return ProviderFactory.create(name=name, **usual | fields)

    return made


def _deployment(name: str) -> str:
    return f"deployment-{name}"


def _go(ask: Asking, body: dict[str, Any] = BARE, **headers: str) -> Reply:
    path = "/v1/responses" if "input" in body else "/v1/chat/completions"
    return ask(body, path=path, headers={"x-pulse-session-id": "s"} | headers)


def _called(vendors: FakeProvider) -> list[str]:
    """Return the rows that were called, in order."""
    return [call.body["model"].removeprefix("deployment-") for call in vendors.calls]


def _fails(vendors: FakeProvider, name: str, *, times: int = 1, **behaviour: Any) -> None:
    vendors.answers(when=(_deployment(name),), times=times, **behaviour or OUTAGE)


def test_calls_without_conversation_are_shared(
    ask: Asking, vendors: FakeProvider, row: MakeRow
) -> None:
    row("eu")
    row("us")
    for _ in range(40):
        assert ask(BARE, path="/v1/chat/completions").status == 200
    assert {*_called(vendors)} == {"eu", "us"}  # by chance the same row once in 2 ** 39


def test_row_without_weight_gets_only_calls_that_name_it(
    ask: Asking, vendors: FakeProvider, row: MakeRow
) -> None:
    row("eu", weight=0)
    row("us")
    for _ in range(20):
        _go(ask)
    assert _go(ask, BARE | {"model": f"eu/{OPENAI}"}).status == 200
    assert _called(vendors) == ["us"] * 20 + ["eu"]


def test_vendor_has_share_of_its_own_model(
    ask: Asking, gateway: Gateway, vendors: FakeProvider, row: MakeRow
) -> None:
    row("eu", order=2)
    wire(gateway, vendors)
    assert _go(ask).status == 200
    assert _called(vendors) == [OPENAI]


def test_vendor_named_by_prefix_is_called_alone(
    ask: Asking, gateway: Gateway, vendors: FakeProvider, row: MakeRow
) -> None:
    row("eu", order=0)
    wire(gateway, vendors)
    assert _go(ask, BARE | {"model": f"openai/{OPENAI}"}).status == 200
    assert _called(vendors) == [OPENAI]


def test_failing_row_is_followed_by_next_with_its_own_hold(
    ask: Asking, vendors: FakeProvider, row: MakeRow
) -> None:
    row("eu", order=1)
    row("us", order=2)
    _fails(vendors, "eu")
    reply = _go(ask)
    assert reply.status == 200, reply.body
    found = tried(reply)
    assert (found.row.requested_model, found.row.provider) == (OPENAI, "us")
    assert [each["provider"] for each in found.attempts] == ["eu"]
    assert found.states == ["released", "settled"]
    assert charged() == {found.row.model: found.row.cost_nanoeur}


def test_breaker_sends_calls_elsewhere_first_until_row_answers(
    ask: Asking, gateway: Gateway, vendors: FakeProvider, row: MakeRow
) -> None:
    clock = [0.0]
    gateway.health = Health(clock=lambda: clock[-1])
    row("eu", order=1)
    row("us", order=2)
    _fails(vendors, "eu", times=FAILURES_MAX)
    for _ in range(FAILURES_MAX + 1):
        assert _go(ask).status == 200
    assert _called(vendors) == ["eu", "us"] * FAILURES_MAX + ["us"]
    clock.append(OPEN_FIRST_S)
    _go(ask)
    _go(ask)
    assert _called(vendors)[-2:] == ["eu", "eu"]


def test_retry_after_sends_next_calls_elsewhere(
    ask: Asking, vendors: FakeProvider, row: MakeRow
) -> None:
    row("eu", order=1)
    row("us", order=2)
    _fails(vendors, "eu", status=429, headers={"retry-after": "60"})
    for _ in range(3):
        assert _go(ask).status == 200
    assert _called(vendors) == ["eu", "us", "us", "us"]


def test_only_row_is_called_though_it_fails(
    ask: Asking, vendors: FakeProvider, row: MakeRow
) -> None:
    row("eu")
    _fails(vendors, "eu", times=FAILURES_MAX)
    statuses = [_go(ask).status for _ in range(FAILURES_MAX + 1)]
    assert statuses == [503] * FAILURES_MAX + [200]


def test_call_that_may_be_billed_is_not_sent_to_another_row(
    ask: Asking, vendors: FakeProvider, row: MakeRow
) -> None:
    row("eu", order=1)
    row("us", order=2)
    _fails(vendors, "eu", status=503, body="a proxy's page")
    assert _go(ask).status == 502
    assert _called(vendors) == ["eu"]


def test_row_that_policy_blocks_is_skipped(
    ask: Asking, acme: Organization, vendors: FakeProvider, row: MakeRow
) -> None:
    row("eu", order=1)
    row("us", order=2)
    PolicyFactory.create(org=acme, blocked_models=["eu/*"])
    assert _go(ask).status == 200
    assert _called(vendors) == ["us"]


def test_model_that_is_blocked_everywhere_is_refused(
    ask: Asking, acme: Organization, vendors: FakeProvider, row: MakeRow
) -> None:
    row("eu")
    row("us")
    fast(acme, OPENAI, CLAUDE)
    PolicyFactory.create(org=acme, blocked_models=[OPENAI])
    assert _go(ask).headers["x-pulse-error-code"] == "model_blocked"
    assert _go(ask, BARE | {"model": "fast"}).headers["x-pulse-error-code"] == "model_blocked"
    assert vendors.calls == []


def test_alias_goes_through_rows_of_each_model(
    ask: Asking, acme: Organization, vendors: FakeProvider, row: MakeRow
) -> None:
    row("eu", order=1)
    row("us", order=2)
    fast(acme, OPENAI, CLAUDE)
    for name in ("eu", "us"):
        _fails(vendors, name)
    reply = _go(ask, BARE | {"model": "fast"})
    assert reply.status == 200
    found = tried(reply)
    assert [each["provider"] for each in found.attempts] == ["eu", "us"]
    assert (found.row.requested_model, found.row.provider) == ("fast", "anthropic")


def test_row_that_lacks_api_is_skipped(ask: Asking, vendors: FakeProvider, row: MakeRow) -> None:
    row("eu", order=1, dialects=["chat"])
    row("us", order=2)
    assert _go(ask, RESPONSES).status == 200
    assert _called(vendors) == ["us"]


def test_full_row_is_skipped(
    ask: Asking, gateway: Gateway, vendors: FakeProvider, row: MakeRow
) -> None:
    row("eu", order=1, concurrent_calls=1)
    row("us", order=2)
    gateway.health.enter("eu", BUSY)
    assert _go(ask).status == 200
    gateway.health.leave(BUSY)
    assert _go(ask).status == 200
    assert _called(vendors) == ["us", "eu"]


def test_call_for_which_all_rows_are_full_is_refused(
    ask: Asking, gateway: Gateway, vendors: FakeProvider, row: MakeRow
) -> None:
    row("eu", concurrent_calls=1)
    gateway.health.enter("eu", BUSY)
    reply = _go(ask)
    assert (reply.status, reply.headers["retry-after"]) == (429, "1")
    assert reply.headers["x-pulse-error-code"] == "rate_limited"
    assert vendors.calls == []


def test_ended_calls_leave_their_places(
    ask: Asking, gateway: Gateway, acme: Organization, vendors: FakeProvider, row: MakeRow
) -> None:
    row("eu", order=1, concurrent_calls=1)
    row("us", order=2)
    PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=1)  # RESERVE refuses
    for _ in range(2):
        assert _go(ask).status == 429
    reports = gateway.health.reports(["eu", "us"])
    assert [report.in_flight for report in reports.values()] == [0, 0]


def _sealed(text: str) -> dict[str, Any]:
    reasoning = {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}
    return RESPONSES | {"input": [{"role": "user", "content": text}, reasoning]}


def test_sealed_conversation_stays_at_row_that_answered_it(
    ask: Asking, vendors: FakeProvider, row: MakeRow
) -> None:
    row("eu", order=1)
    row("us", order=2)
    _fails(vendors, "eu")
    first = RESPONSES | {"input": [{"role": "user", "content": "Say hello"}]}
    assert _go(ask, first).status == 200
    assert _go(ask, _sealed("Say hello")).status == 200
    assert _called(vendors) == ["eu", "us", "us"]


def test_sealed_conversation_of_alias_is_not_sent_to_its_other_provider(
    ask: Asking, vendors: FakeProvider, row: MakeRow, acme: Organization
) -> None:
    row("eu", weight=0)
    row("us", weight=0)
    fast(acme, f"eu/{OPENAI}", f"us/{OPENAI}")
    _fails(vendors, "eu")
    first = RESPONSES | {"model": "fast", "input": [{"role": "user", "content": "Say hello"}]}
    assert _go(ask, first).status == 200
    _fails(vendors, "us")
    assert _go(ask, _sealed("Say hello") | {"model": "fast"}).status == 503
    assert _called(vendors) == ["eu", "us", "us"]


def test_sealed_conversation_is_not_sent_elsewhere_when_its_row_fails(
    ask: Asking, vendors: FakeProvider, row: MakeRow
) -> None:
    row("eu", order=1)
    row("us", order=2)
    _fails(vendors, "eu", times=FAILURES_MAX + 1)
    for _ in range(FAILURES_MAX + 1):
        assert _go(ask, _sealed("Say hello")).status == 503
    assert {*_called(vendors)} == {"eu"}
    assert AiRequestLog.objects.filter(attempts__isnull=True).count() == FAILURES_MAX + 1


def _quoted(ask: Asking, model: str) -> tuple[bool, str]:
    quote = ask({"model": model, "prompt": "Hi"}, path="/api/ai/quote").json
    return quote["allowed"], quote["provider"]


def _offers(ask: Asking, model: str) -> str | None:
    found = ask(method="GET", path=f"/v1/models/{model}")
    ids = [each["id"] for each in ask(method="GET", path="/v1/models").json["data"]]
    assert (model.upper() in ids) == (found.status == 200)
    return found.json["owned_by"] if found.status == 200 else None


def test_quote_and_lists_know_every_row_that_shares_name(
    ask: Asking, row: MakeRow, acme: Organization
) -> None:
    row("eu", order=2, regions=["eu"])
    assert (_quoted(ask, OPENAI), _offers(ask, OPENAI)) == ((True, "eu"), "eu")
    row("us", order=1)
    assert (_quoted(ask, OPENAI), _offers(ask, OPENAI)) == ((True, "us"), "us")
    policy = PolicyFactory.create(org=acme, allowed_models=["region:eu"])
    assert (_quoted(ask, OPENAI), _offers(ask, OPENAI)) == ((True, "eu"), "eu")
    assert ask(BARE, path="/v1/chat/completions").status == 200
    policy.allowed_models = ["region:de"]
    policy.save()
    assert (_quoted(ask, OPENAI)[0], _offers(ask, OPENAI)) == (False, None)
