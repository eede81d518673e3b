"""A breaker opens after failures of its provider, and closes when that answers again."""

from __future__ import annotations

import pytest

from gateway.core.calls import Completion
from gateway.core.errors import (
    Broken,
    ClientGone,
    ConversationLocked,
    CredentialsRefused,
    FailedAnswer,
    NeverSent,
    NotConfigured,
    ProviderFailed,
    RateLimited,
    Rejected,
    TimedOut,
    Unreachable,
)
from gateway.providers.routing.breaker import (
    FAILURES_MAX,
    OPEN_FIRST_S,
    OPEN_MAX_S,
    Breaker,
    CallOutcome,
    outcome_of,
)

ANSWER = Completion(model="gpt-4o", finish_reason="stop", usage=None)
ANSWERED, FAILED, NOTHING = CallOutcome.ANSWERED, CallOutcome.FAILED, CallOutcome.NOTHING


def _opened(*, now_s: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES_MAX):
        breaker.record(FAILED, began_s=now_s, now_s=now_s)
    return breaker


@pytest.mark.parametrize(
    ("ended", "outcome"),
    [
        (ANSWER, ANSWERED),
        (FailedAnswer("", completion=ANSWER), ANSWERED),
        (Rejected("", provider_status=400), ANSWERED),
        (Rejected("", provider_status=404), ANSWERED),
        (Unreachable(""), FAILED),
        (TimedOut(""), FAILED),
        (TimedOut("", provider_status=408), FAILED),
        (Broken(""), FAILED),
        (Broken("", provider_status=502), FAILED),
        (Rejected("", provider_status=500), FAILED),
        (Rejected("", provider_status=529), FAILED),
        (RateLimited("", provider_status=429), FAILED),
        (CredentialsRefused("", reported="", provider_status=401), FAILED),
        (NeverSent(""), NOTHING),
        (ClientGone(""), NOTHING),
        (ConversationLocked(), NOTHING),
        (NotConfigured(""), NOTHING),
        (Rejected("could not be encoded"), NOTHING),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ProviderFailed) else None,
)
def test_end_of_call_shows_whether_provider_works(
    ended: Completion | ProviderFailed, outcome: CallOutcome
) -> None:
    assert outcome_of(ended) is outcome


def test_breaker_opens_after_failures_in_row() -> None:
    breaker = Breaker()
    for _ in range(FAILURES_MAX - 1):
        breaker.record(FAILED, began_s=0, now_s=0)
    assert not breaker.is_failing(now_s=0)
    breaker.record(FAILED, began_s=0, now_s=0)
    assert breaker.is_failing(now_s=0)


@pytest.mark.parametrize(("between", "is_failing"), [(ANSWERED, False), (NOTHING, True)])
def test_only_answer_between_failures_keeps_breaker_closed(
    between: CallOutcome, is_failing: bool
) -> None:
    breaker = Breaker()
    for outcome in (*[FAILED] * (FAILURES_MAX - 1), between, FAILED):
        breaker.record(outcome, began_s=0, now_s=0)
    assert breaker.is_failing(now_s=0) is is_failing


def test_open_breaker_is_tried_by_one_call_when_its_time_is_over() -> None:
    breaker = _opened()
    assert not breaker.tries(now_s=OPEN_FIRST_S - 0.1)
    assert breaker.tries(now_s=OPEN_FIRST_S)
    assert not breaker.tries(now_s=OPEN_FIRST_S)
    assert breaker.is_failing(now_s=OPEN_FIRST_S)


def test_call_that_was_not_sent_leaves_its_try_to_another() -> None:
    breaker = _opened()
    assert breaker.tries(now_s=OPEN_FIRST_S)
    breaker.record(NOTHING, began_s=OPEN_FIRST_S, now_s=OPEN_FIRST_S)
    breaker.tried()
    assert breaker.tries(now_s=OPEN_FIRST_S)


def test_answer_closes_breaker() -> None:
    breaker = _opened()
    breaker.tries(now_s=OPEN_FIRST_S)
    breaker.record(ANSWERED, began_s=OPEN_FIRST_S, now_s=OPEN_FIRST_S + 1)
    breaker.tried()
    assert not breaker.is_failing(now_s=OPEN_FIRST_S + 1)
    assert not breaker.tries(now_s=OPEN_FIRST_S + 1)


def test_failed_tries_open_breaker_for_doubled_times_up_to_maximum() -> None:
    breaker, now_s, times = _opened(), 0.0, []
    for _ in range(10):
        assert breaker.open_until_s is not None
        times.append(breaker.open_until_s - now_s)
        now_s = breaker.open_until_s
        breaker.record(FAILED, began_s=now_s, now_s=now_s)
    assert times[:4] == [OPEN_FIRST_S * 2**n for n in range(4)]
    assert times[-1] == OPEN_MAX_S


def test_answer_resets_doubled_time() -> None:
    breaker = _opened()
    breaker.record(FAILED, began_s=OPEN_FIRST_S, now_s=OPEN_FIRST_S)
    breaker.record(ANSWERED, began_s=100, now_s=100)
    for _ in range(FAILURES_MAX):
        breaker.record(FAILED, began_s=200, now_s=200)
    assert breaker.open_until_s == 200 + OPEN_FIRST_S


def test_failures_while_it_is_open_do_not_open_it_for_longer() -> None:
    breaker = _opened()
    breaker.record(FAILED, began_s=1, now_s=2)
    assert breaker.open_until_s == OPEN_FIRST_S


@pytest.mark.parametrize("outcome", [ANSWERED, FAILED])
def test_call_that_began_before_last_change_shows_nothing(outcome: CallOutcome) -> None:
    breaker = _opened(now_s=10)
    breaker.record(outcome, began_s=9, now_s=10 + OPEN_FIRST_S)
    assert breaker.open_until_s == 10 + OPEN_FIRST_S


def test_failures_from_before_outage_ended_do_not_open_it_again() -> None:
    breaker = _opened()
    breaker.record(ANSWERED, began_s=OPEN_FIRST_S, now_s=20)
    for _ in range(FAILURES_MAX):
        breaker.record(FAILED, began_s=19, now_s=21)
    assert not breaker.is_failing(now_s=21)


def test_retry_after_opens_breaker_at_once_until_then() -> None:
    breaker = Breaker()
    breaker.record(FAILED, began_s=0, now_s=1, retry_after_s=30)
    assert breaker.is_failing(now_s=30.9)
    assert not breaker.is_failing(now_s=31)
    assert breaker.tries(now_s=31)


def test_retry_after_is_bounded() -> None:
    breaker = Breaker()
    breaker.record(FAILED, began_s=0, now_s=0, retry_after_s=86_400)
    assert breaker.open_until_s == OPEN_MAX_S


def test_shorter_retry_after_does_not_shorten_longer_one() -> None:
    breaker = Breaker()
    for retry_after_s in (60, 1):
        breaker.record(FAILED, began_s=0, now_s=0, retry_after_s=retry_after_s)
    assert breaker.open_until_s == 60


def test_retry_after_of_request_error_opens_nothing() -> None:
    breaker = Breaker()
    breaker.record(ANSWERED, began_s=0, now_s=0, retry_after_s=60)
    assert not breaker.is_failing(now_s=0)


def test_many_calls_over_rate_do_not_lengthen_next_opening() -> None:
    breaker = Breaker()
    for _ in range(50):
        breaker.record(FAILED, began_s=0, now_s=0, retry_after_s=1)
    breaker.record(FAILED, began_s=1, now_s=1)
    assert breaker.open_until_s == 1 + OPEN_FIRST_S
