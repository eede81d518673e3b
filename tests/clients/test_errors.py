"""Exceptions of clients when the vendor refuses or fails, and when the gateway refuses."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest

from tests.clients.callers import CALLERS, Caller, status_of
from tests.clients.questions import PROMPT
from tests.clients.targets import MODELS, Target, gateway_target
from tests.system.rows import Rows
from tests.system.servers import Installation
from tests.system.upstream import Upstream

CAP = 100
BY_NAME = pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.name)
# What a policy blocks, and what it lets pass, by the vendor whose client asks.
BLOCKED = {
    "openai": "gpt-4o",
    "anthropic": "claude-opus-4-1",
    "google": "gemini-2.5-pro",
    "mistral": "mistral-small-latest",
}


@BY_NAME
@pytest.mark.parametrize("status", [400, 404, 429, 500, 503, 529])
def test_vendor_error_is_raised(
    status: int, caller: Caller, target: Target, upstream: Upstream
) -> None:
    upstream.answers({"status": status, "headers": {"retry-after": "7"}})
    with pytest.raises(caller.error_class(status)) as raised:
        caller.ask(target, MODELS[caller.vendor], CAP)
    assert f"The fake provider answers {status}" in str(raised.value)
    assert status_of(raised.value) == status
    assert len(upstream.calls()) == 1


@pytest.mark.parametrize(
    "caller",
    [each for each in CALLERS if each.vendor != "google"],
    ids=lambda caller: caller.name,
)
def test_vendor_rate_limit_has_retry_after(
    caller: Caller, target: Target, upstream: Upstream
) -> None:
    upstream.answers({"status": 429, "headers": {"retry-after": "7"}})
    with pytest.raises(caller.error_class(429)) as raised:
        caller.ask(target, MODELS[caller.vendor], CAP)
    response = getattr(raised.value, "response", None) or raised.value.raw_response  # type: ignore[attr-defined]  # Mistral's
    assert response.headers["retry-after"] == "7"


# --- the gateway's own refusals -------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A call that the gateway refuses; `org` has what refuses it, `sentence` is a pattern."""

    code: str
    status: int | Mapping[str, int]
    org: str
    sentence: str
    is_blocked: bool = False
    model: str | None = None
    cap: int = CAP
    openai_code: str | None = None

    def status_for(self, vendor: str) -> int:
        """Return the status for a vendor's client."""
        return self.status if isinstance(self.status, int) else self.status[vendor]


REFUSALS = (
    Refusal(
        code="model_blocked",
        status={"openai": 404, "mistral": 404, "anthropic": 400, "google": 400},
        openai_code="model_not_found",
        org="strict",
        is_blocked=True,
        sentence=r'Model {model} is blocked by policy "Production Policy"',
    ),
    Refusal(
        code="token_limit",
        status=400,
        org="strict",
        cap=5000,
        sentence=r"Request needs up to \d+ tokens; "
        r'policy "Production Policy" allows 1000 per request',
    ),
    Refusal(
        code="daily_cost_limit",
        status=429,
        openai_code="insufficient_quota",
        org="spent",
        sentence=r"Request could cost up to [\d.]+ EUR; "
        r'policy "Nothing left" allows [\d.]+ EUR per day and [\d.]+ EUR are left',
    ),
    Refusal(
        code="gateway_disabled",
        status=403,
        org="shut",
        sentence=r'AI Gateway is not enabled for organization "Shut"',
    ),
    Refusal(
        code="unknown_model",
        status=400,
        org="acme",
        model="no-such-model",
        sentence="no-such-model",
    ),
    Refusal(code="unauthenticated", status=401, org="unknown", sentence=r"\w+"),
)


@pytest.fixture(scope="session")
def keys(gateway_url: str, installation: Installation) -> dict[str, str]:
    """A key of each organization that the refusals are about, and an unknown key."""
    made = installation.organizations("strict", "spent", "shut")
    blocked = ",".join(BLOCKED.values())
    words = ("policies", "create")
    strict = ("--name", "Production Policy", "--block", blocked, "--max-tokens", "1000")
    installation.run_each(
        (*words, "strict", *strict),
        (*words, "spent", "--name", "Nothing left", "--max-cost-per-day", "0.0000001"),
        ("orgs", "disable", "shut"),
    )
    unknown = made["strict"][:-1] + ("0" if made["strict"][-1] != "0" else "1")
    return {**made, "acme": installation.key, "unknown": unknown}


@BY_NAME
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.code)
def test_gateway_error_is_raised(
    refusal: Refusal,
    caller: Caller,
    gateway_url: str,
    keys: dict[str, str],
    upstream: Upstream,
) -> None:
    target = gateway_target(gateway_url, keys[refusal.org])
    asked = refusal.model or (BLOCKED if refusal.is_blocked else MODELS)[caller.vendor]
    status = refusal.status_for(caller.vendor)
    with pytest.raises(caller.error_class(status)) as raised:
        caller.ask(target, asked, refusal.cap)
    assert status_of(raised.value) == status
    sentence = refusal.sentence.replace("{model}", r"[\w.-]+")
    assert re.search(sentence, str(raised.value).replace('\\"', '"'))
    if caller.vendor == "openai":
        assert isinstance(raised.value, openai.APIStatusError)
        assert raised.value.code == (refusal.openai_code or refusal.code)
        assert raised.value.response.headers["x-pulse-error-code"] == refusal.code
    assert upstream.calls() == []


def test_blocked_model_is_not_listed_or_found(gateway_url: str, keys: dict[str, str]) -> None:
    target = gateway_target(gateway_url, keys["strict"])
    with openai.OpenAI(
        base_url=target.base_url("openai"), api_key=target.key, max_retries=0
    ) as client:
        listed = {model.id for model in client.models.list()}
        assert MODELS["openai"] in listed
        assert listed.isdisjoint(BLOCKED.values())
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve(BLOCKED["openai"])


def test_spent_budget_has_retry_after(gateway_url: str, keys: dict[str, str]) -> None:
    target = gateway_target(gateway_url, keys["spent"])
    [caller] = [each for each in CALLERS if each.name == "chat"]
    with pytest.raises(openai.RateLimitError) as raised:
        caller.ask(target, MODELS["openai"], CAP)
    assert 0 < int(raised.value.response.headers["retry-after"]) <= 86_400


# --- how often they ask again ---------------------------------------------------------------------


OF_ORGANIZATION = """
    SELECT {columns} FROM ai_request_log r JOIN organization o ON o.id = r.org_id
    WHERE o.slug = '{slug}'
"""


def _asks(vendor: str, target: Target, **more: Any) -> Callable[[], object]:
    """Return a call by a vendor's client as it is by default, with its own retries."""
    question: Any = {
        "model": MODELS[vendor],
        "max_tokens": CAP,
        "messages": [{"role": "user", "content": PROMPT}],
    }
    url = target.base_url(vendor)
    if vendor == "openai":
        chat = openai.OpenAI(base_url=url, api_key=target.key).chat.completions
        return lambda: chat.create(**question, **more)
    messages = anthropic.Anthropic(base_url=url, api_key=target.key).messages
    return lambda: messages.create(**question, **more)


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
@pytest.mark.parametrize("stream", [False, True])
def test_spent_limit_is_asked_once(
    vendor: str, stream: bool, gateway_url: str, keys: dict[str, str], rows: Rows
) -> None:
    def asked() -> int:
        query = "SELECT count(*) FROM ai_request_log WHERE code = 'daily_cost_limit'"
        [(count,)] = rows.query(query)
        return int(count)

    before = asked()
    ask = _asks(vendor, gateway_target(gateway_url, keys["spent"]), stream=stream)
    errors = (openai.RateLimitError, anthropic.RateLimitError)
    with pytest.raises(errors, match=r'policy "Nothing left" allows') as raised:
        ask()
    assert asked() == before + 1
    kind = {"openai": "insufficient_quota", "anthropic": "billing_error"}[vendor]
    assert kind in str(vars(raised.value)["body"])


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
@pytest.mark.parametrize(("wait_s", "codes"), [("0", {None, "rate_limited"}), ("20", {None})])
def test_room_held_by_call_in_flight_is_waited_or_asked_for_again(  # noqa: PLR0913  fixtures
    vendor: str,
    wait_s: str,
    codes: set[str | None],
    gateway_url: str,
    installation: Installation,
    upstream: Upstream,
    rows: Rows,
) -> None:
    slug = f"busy-{vendor}-{wait_s}"
    key = installation.organizations(slug)[slug]
    ask = _asks(vendor, gateway_target(gateway_url, key))
    ask()
    [(bound,)] = rows.query(OF_ORGANIZATION.format(columns="r.hold_nanoeur", slug=slug))
    limit = ("--max-cost-per-day", f"{int(bound) * 1.9 / 1e9:.9f}", "--wait", wait_s)
    installation.run("policies", "create", slug, "--name", "Room", *limit)
    upstream.answers({"until_released": True, "times": 1})
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(ask)
        until_row(rows, slug, "r.status", "pending")
        second = threads.submit(ask)
        if "rate_limited" in codes:
            until_row(rows, slug, "r.code", "rate_limited")
        else:
            time.sleep(0.5)  # a call that waits has no row
        upstream.release()
        first.result()
        second.result()
    states = rows.query(OF_ORGANIZATION.format(columns="r.status, r.code", slug=slug))
    assert [status for status, _ in states].count("ok") == 3
    assert {code for _, code in states} == codes


def until_row(rows: Rows, slug: str, column: str, value: str) -> None:
    """Wait until a request of the organization has this value."""
    deadline = time.monotonic() + 120
    while (value,) not in rows.query(OF_ORGANIZATION.format(columns=column, slug=slug)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
