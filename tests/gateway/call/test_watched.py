"""Watched policies count what the same policies would refuse if they were on, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from costs.models import Period, RateBucket
from gateway.models import AiRequestLog, Policy
from gateway.policies.operations import PolicyLimits, create_policy
from orgs.models import Organization
from tests.gateway.conftest import Asking

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

MILLI_EUR: Final = 10**6
UNCAPPED: Final[dict[str, Any]] = {"model": "sandbox-small", "prompt": "Say hello"}
CAPPED: Final[dict[str, Any]] = UNCAPPED | {"maxTokens": 100}
LARGE: Final[dict[str, Any]] = UNCAPPED | {"maxTokens": 9_000}
LONG: Final[dict[str, Any]] = CAPPED | {"prompt": "word " * 400}
# The sandbox's small model costs 0.00052 EUR for 1,000 tokens of output, and gives 16,384.
LIMITS: Final[dict[str, dict[str, Any]]] = {
    "tokens": {"max_tokens_per_request": 300},
    "few tokens": {"max_tokens_per_request": 5},
    "lowered, tokens": {"max_tokens_per_request": 300, "max_output_tokens": 50},
    "output": {"max_output_tokens": 50},
    "tokens per minute": {"tokens_per_minute": 300},
    "many tokens per minute": {"tokens_per_minute": 100_000},
    "requests per minute": {"requests_per_minute": 2},
    "requests and tokens": {"requests_per_minute": 3, "max_tokens_per_request": 300},
    "day": {"max_cost_per_day_nanoeur": 5 * MILLI_EUR},
    "little a day": {"max_cost_per_day_nanoeur": MILLI_EUR},
    "day, lowered": {"max_cost_per_day_nanoeur": MILLI_EUR, "max_output_tokens": 500},
    "nothing a day": {"max_cost_per_day_nanoeur": 0},
    "session": {"max_cost_per_session_nanoeur": 5 * MILLI_EUR},
    "little a session": {"max_cost_per_session_nanoeur": MILLI_EUR},
    "blocked": {"blocked_models": ["sandbox-small"], "requests_per_minute": 1},
}


@pytest.fixture
def policy(acme: Organization) -> Callable[..., Policy]:
    """Create a policy of one team, which refuses at once."""

    def made(team: str, mode: str, **limits: Any) -> Policy:
        values: dict[str, Any] = {
            "name": f"{team} {mode}",
            "mode": mode,
            "applies_to": {"team_id": [team]},
            "allowed_models": [],
            "blocked_models": [],
            "max_cost_per_day_nanoeur": None,
            "max_tokens_per_request": None,
            "wait_s": 0,
        }
        return create_policy(organization_id=acme.pk, limits=PolicyLimits(**values | limits))

    return made


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS.keys())
def test_watched_policy_would_refuse_what_policy_that_is_on_refuses(
    ask: Asking, policy: Callable[..., Policy], limits: dict[str, Any]
) -> None:
    policy("on", "on", **limits)
    policy("watched", "watch", **limits)
    for body in (UNCAPPED, CAPPED, LARGE, LONG, UNCAPPED, CAPPED):
        refused = ask(body | {"teamId": "on"}, headers={"x-pulse-session-id": "a"}).status != 200
        reply = ask(body | {"teamId": "watched"}, headers={"x-pulse-session-id": "b"})
        assert reply.status == 200
        assert AiRequestLog.objects.latest("id").refused_by_watched is refused, body
        # Nothing is refilled meanwhile, however long the calls take.
        RateBucket.objects.update(refilled_at=datetime.now(UTC) + timedelta(seconds=50))


def test_call_that_watched_policy_would_refuse_takes_nothing_of_its_rates(
    ask: Asking, policy: Callable[..., Policy]
) -> None:
    policy("t", "watch", max_tokens_per_request=5, requests_per_minute=1)
    for _ in range(2):
        assert ask(CAPPED | {"teamId": "t"}).status == 200
        assert AiRequestLog.objects.latest("id").decision["policies"][0]["verdict"] == "token_limit"
    assert not RateBucket.objects.exists()


def test_watched_limit_of_sessions_has_verdict_and_refuses_nothing(
    ask: Asking, policy: Callable[..., Policy]
) -> None:
    policy("t", "watch", max_cost_per_session_nanoeur=1)
    assert ask(CAPPED | {"teamId": "t"}, headers={"x-pulse-session-id": "s"}).status == 200
    row = AiRequestLog.objects.get()
    assert row.decision["policies"][0]["verdict"] == "budget_limit"
    assert "session" not in row.decision
    assert Period.objects.get(scope__startswith="session:").limit_nanoeur is None
    assert ask(CAPPED | {"teamId": "t"}).status == 200
    assert AiRequestLog.objects.latest("id").refused_by_watched is False
