"""An alias's models are called in order, each with its own policy check and hold."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.call.runtime import Gateway
from gateway.core.errors import RateLimited
from gateway.core.providers import TimeLimits
from orgs.models import Organization
from tests.factories import AliasFactory, PolicyFactory
from tests.fake_provider import closed_port
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import CHAT, CLAUDE, HELLO, OPENAI, charged, fast, tried, wire
from tests.gateway.conftest import Asking
from tests.gateway.stand_ins import Only, StandIn
from tests.gateway.wire import Reply

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

CHAT_PATH = "/v1/chat/completions"
ERROR = {"type": "error", "error": {"type": "api_error", "message": "Say hello, no"}}
PLAIN, STREAMED, RELAYED, RELAYED_STREAM = WAYS = (
    ("/api/ai/request", HELLO),
    ("/api/ai/request", HELLO | {"stream": True}),
    (CHAT_PATH, CHAT),
    (CHAT_PATH, CHAT | {"stream": True}),
)
EVERY_WAY = pytest.mark.parametrize(
    "way", WAYS, ids=["plain", "streamed", "relayed", "relayed stream"]
)
Way = tuple[str, dict[str, Any]]


def go(ask: Asking, way: Way) -> Reply:
    return ask(way[1], path=way[0])


def seen(vendors: FakeProvider) -> list[str]:
    """Return the called models, in order."""
    return [call.vendor for call in vendors.calls]


@EVERY_WAY
@pytest.mark.parametrize("status", [429, 503])
def test_refusal_is_followed_by_next_model(
    ask: Asking, acme: Organization, vendors: FakeProvider, way: Way, status: int
) -> None:
    fast(acme)
    vendors.answers(vendor="openai", status=status, content="x")
    reply = go(ask, way)
    assert reply.status == 200, reply.body
    assert b"hello" in reply.body
    assert seen(vendors) == ["openai", "anthropic"]
    found = tried(reply)
    assert (found.row.requested_model, found.row.provider) == ("fast", "anthropic")
    assert (found.models, found.row.status) == ([OPENAI, CLAUDE], "ok")
    assert found.states == ["released", "settled"]
    assert charged() == {CLAUDE: found.row.cost_nanoeur}
    (first,) = found.attempts
    assert (first["provider"], first["provider_status"]) == ("openai", status)
    assert (first["hold_id"], first["bound_nanoeur"]) == (
        str(found.holds[0].id),
        found.holds[0].amount_nanoeur,
    )


@pytest.mark.parametrize("status", [401, 402, 403, 404, 500, 529])
def test_provider_side_failure_is_followed_by_next_model(
    ask: Asking, acme: Organization, vendors: FakeProvider, status: int
) -> None:
    fast(acme)
    vendors.answers(vendor="openai", status=status)
    assert go(ask, RELAYED).status == 200
    code = "provider_credentials" if status in {401, 403} else "provider_error"
    assert tried().codes == [code, None]


@EVERY_WAY
def test_unreachable_provider_is_followed_by_next_model(
    ask: Asking, acme: Organization, gateway: Gateway, vendors: FakeProvider, way: Way
) -> None:
    fast(acme)
    wire(gateway, vendors, openai=f"http://127.0.0.1:{closed_port()}/v1")
    reply = go(ask, way)
    assert reply.status == 200, reply.body
    found = tried(reply)
    assert found.codes == ["provider_unavailable", None]
    assert found.states == ["released", "settled"]


def test_provider_without_key_is_skipped_without_hold(
    ask: Asking, acme: Organization, gateway: Gateway, vendors: FakeProvider
) -> None:
    fast(acme)
    wire(gateway, vendors, openai=None)
    for way in (PLAIN, RELAYED_STREAM):
        found = tried(go(ask, way))
        assert found.codes == ["provider_not_configured", None]
        assert found.states == ["settled"]
        assert found.attempts[0]["hold_id"] is None
    wire(gateway, vendors, openai=None, anthropic=None)
    reply = go(ask, PLAIN)
    assert reply.refusal[:2] == (503, "provider_not_configured")
    assert tried(reply).models == [OPENAI, CLAUDE]


@EVERY_WAY
@pytest.mark.parametrize("status", [400, 422])
def test_invalid_request_is_not_tried_again(
    ask: Asking, acme: Organization, vendors: FakeProvider, way: Way, status: int
) -> None:
    fast(acme, retries=5)
    vendors.answers(status=status)
    reply = go(ask, way)
    assert reply.status == (status if way[0] == CHAT_PATH else 502)
    assert seen(vendors) == ["openai"]
    assert tried().row.attempts is None


@pytest.fixture
def impatient(gateway: Gateway, vendors: FakeProvider) -> FakeProvider:
    """The vendors, with a timeout of 1.5 s; their SDKs are imported."""
    wire(gateway, vendors, limits=TimeLimits(total_s=1.5))
    gateway.call_loop.call_sync(gateway.providers.get(gateway.providers.vendors["openai"]))
    return vendors


@EVERY_WAY
@pytest.mark.parametrize(
    "behaviour",
    [{"reset": "after"}, {"cut_after_bytes": 20}, {"stall": "headers"}, {"status": 504}],
    ids=lambda behaviour: next(iter(behaviour)),
)
def test_possibly_billed_failure_is_not_tried_again(
    ask: Asking, acme: Organization, impatient: FakeProvider, way: Way, behaviour: dict[str, Any]
) -> None:
    vendors = impatient
    fast(acme, retries=5)
    vendors.answers(**behaviour)
    go(ask, way)
    assert seen(vendors) == ["openai"]
    found = tried()
    assert (found.row.status, found.attempts, found.states) == ("unknown", [], ["unknown"])


def test_no_attempt_follows_first_byte(
    ask: Asking, acme: Organization, gateway: Gateway, api_key: str
) -> None:
    fast(acme, "sandbox-small", "sandbox-large", retries=5)
    provider = StandIn(pieces=("Hel",), failure=RateLimited("busy", provider_status=429))
    gateway.providers = Only(provider)
    reply = ask(HELLO | {"stream": True})
    assert [event.name for event in reply.events] == ["delta", "error"]
    assert len(provider.asked) == 1
    reply = ask(CHAT | {"stream": True}, path=CHAT_PATH)
    assert b"Hel" in reply.body
    assert len(provider.asked) == 2


def test_started_relayed_stream_is_not_restarted(
    ask: Asking, acme: Organization, vendors: FakeProvider
) -> None:
    fast(acme, retries=5)
    vendors.answers(cut_after_bytes=400, content="one two three four five six")
    reply = go(ask, RELAYED_STREAM)
    assert (reply.status, seen(vendors)) == (200, ["openai"])


@EVERY_WAY
def test_relayed_model_can_follow_translated_model(
    ask: Asking, acme: Organization, vendors: FakeProvider, way: Way
) -> None:
    fast(acme, CLAUDE, OPENAI)
    vendors.answers(vendor="anthropic", status=529)
    reply = go(ask, way)
    assert (reply.status, seen(vendors)) == (200, ["anthropic", "openai"])
    assert b"hello" in reply.body
    assert tried().models == [CLAUDE, OPENAI]


def test_last_failure_is_reported_without_charge(
    ask: Asking, acme: Organization, vendors: FakeProvider
) -> None:
    fast(acme)
    vendors.answers(vendor="openai", status=429)
    vendors.answers(vendor="anthropic", status=503, body=ERROR)
    reply = go(ask, PLAIN)
    assert reply.refusal[:2] == (502, "provider_error")
    found = tried()
    assert (found.row.status, found.codes) == ("error", ["provider_rate_limited", "provider_error"])
    assert (found.states, found.row.cost_nanoeur, charged()) == (["released"] * 2, 0, {})


# --- policies -----------------------------------------------------------------------------------


@EVERY_WAY
def test_blocked_first_model_refuses_despite_alias_name(
    ask: Asking, acme: Organization, vendors: FakeProvider, way: Way
) -> None:
    fast(acme)
    PolicyFactory.create(org=acme, name="P", blocked_models=[OPENAI], allowed_models=["*", "fast"])
    for name in ("fast", " FAST "):
        reply = go(ask, (way[0], way[1] | {"model": name}))
        assert reply.status == (403 if way[0].startswith("/api/") else 404)
        assert f'Model {OPENAI} is blocked by policy \\"P\\"'.encode() in reply.body
    assert seen(vendors) == []


def test_policy_entry_of_alias_does_not_match_its_models(
    ask: Asking, acme: Organization, vendors: FakeProvider
) -> None:
    fast(acme)
    policy = PolicyFactory.create(org=acme, blocked_models=["fast"])
    assert go(ask, PLAIN).status == 200
    policy.delete()
    PolicyFactory.create(org=acme, allowed_models=["fast"])
    assert go(ask, PLAIN).refusal[1] == "model_not_allowed"


def test_blocked_fallback_is_skipped(
    ask: Asking, acme: Organization, vendors: FakeProvider
) -> None:
    fast(acme, OPENAI, CLAUDE, "gpt-4")
    PolicyFactory.create(org=acme, name="P", blocked_models=["claude-*"])
    vendors.answers(status=429)
    assert go(ask, PLAIN).status == 200
    assert seen(vendors) == ["openai", "openai"]
    found = tried()
    assert found.models == [OPENAI, CLAUDE, "gpt-4"]
    assert found.codes == ["provider_rate_limited", "model_blocked", None]
    assert found.states == ["released", "settled"]


def test_first_failure_is_reported_if_all_fallbacks_are_blocked(
    ask: Asking, acme: Organization, vendors: FakeProvider
) -> None:
    fast(acme, OPENAI, CLAUDE, "gpt-4")
    PolicyFactory.create(org=acme, blocked_models=["claude-*", "gpt-4"])
    vendors.answers(status=429)
    assert go(ask, PLAIN).refusal[:2] == (429, "provider_rate_limited")
    found = tried()
    assert (found.row.model, found.row.code) == (OPENAI, "provider_rate_limited")
    assert [kept["code"] for kept in found.attempts] == ["model_blocked"] * 2
    assert found.states == ["released"]


def test_each_attempt_is_checked_and_held_for_its_model(
    ask: Asking, acme: Organization, vendors: FakeProvider
) -> None:
    fast(acme, OPENAI, "gpt-4")
    vendors.answers(status=429)
    go(ask, PLAIN)
    found = tried()
    cheap, dear = found.holds
    assert (cheap.charge_to["model"], dear.charge_to["model"]) == (OPENAI, "gpt-4")
    assert dear.amount_nanoeur > 50 * cheap.amount_nanoeur
    assert found.row.hold_nanoeur == dear.amount_nanoeur
    assert found.row.decision["model"] == {
        "requested": "fast",
        "meant": "gpt-4",
        "provider": "openai",
    }
    (kept,) = found.attempts
    assert kept["decision"]["model"]["meant"] == OPENAI
    assert kept["decision"]["bound_nanoeur"] == cheap.amount_nanoeur


def test_fallback_beyond_daily_limit_is_skipped(
    ask: Asking, acme: Organization, vendors: FakeProvider
) -> None:
    fast(acme, OPENAI, "gpt-4")
    AliasFactory.create(org=acme, name="three", models=[OPENAI, "gpt-4", "gpt-4o"])
    PolicyFactory.create(org=acme, name="P", max_cost_per_day_nanoeur=1_500_000)
    for name, codes in (("fast", ["daily_cost_limit"]), ("three", [None])):
        vendors.answers(status=429)
        reply = go(ask, ("/api/ai/request", HELLO | {"model": name}))
        found = tried(reply)
        assert found.attempts[-1]["code"] == "daily_cost_limit"
        assert found.attempts[-1]["hold_id"] is None
        if codes == [None]:
            assert (reply.status, found.row.model) == (200, "gpt-4o")
        else:
            assert reply.refusal[:2] == (429, "provider_rate_limited")
            assert (found.row.model, found.states) == (OPENAI, ["released"])
