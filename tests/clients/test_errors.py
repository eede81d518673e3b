"""Exceptions of clients when the vendor refuses or fails, and when the gateway refuses."""

from __future__ import annotations

import re
from dataclasses import dataclass

import openai
import pytest

from tests.clients.callers import CALLERS, Caller, status_of
from tests.clients.targets import MODELS, Target, gateway_target
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
    status: int
    org: str
    sentence: str
    is_blocked: bool = False
    model: str | None = None
    cap: int = CAP


REFUSALS = (
    Refusal(
        code="model_blocked",
        status=403,
        org="strict",
        is_blocked=True,
        sentence=r'Model {model} is blocked by policy "Production Policy"',
    ),
    Refusal(
        code="token_limit",
        status=403,
        org="strict",
        cap=5000,
        sentence=r"Request needs up to \d+ tokens; "
        r'policy "Production Policy" allows 1000 per request',
    ),
    Refusal(
        code="daily_cost_limit",
        status=403,
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
    with pytest.raises(caller.error_class(refusal.status)) as raised:
        caller.ask(target, asked, refusal.cap)
    assert status_of(raised.value) == refusal.status
    sentence = refusal.sentence.replace("{model}", r"[\w.-]+")
    assert re.search(sentence, str(raised.value).replace('\\"', '"'))
    if caller.vendor == "openai":
        assert isinstance(raised.value, openai.APIStatusError)
        assert raised.value.code == refusal.code
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
    with pytest.raises(openai.PermissionDeniedError) as raised:
        caller.ask(target, MODELS["openai"], CAP)
    assert 0 < int(raised.value.response.headers["retry-after"]) <= 86_400
