"""A process knows of each provider whether it works, and its calls there."""

from __future__ import annotations

from uuid import uuid4

import pytest

from gateway.core.calls import Completion
from gateway.core.errors import ClientGone, ProviderFailed, Rejected, Unreachable
from gateway.providers.routing.breaker import FAILURES_MAX, OPEN_FIRST_S
from gateway.providers.routing.health import PROVIDERS_MAX, Health, HealthReport

ONE, TWO = uuid4(), uuid4()
ANSWER = Completion(model="gpt-4o", finish_reason="stop", usage=None)


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def health(clock: SetClock) -> Health:
    return Health(clock=clock)


def _fail(health: Health, clock: SetClock, name: str = "eu") -> None:
    for _ in range(FAILURES_MAX):
        health.record(name, Unreachable(""), took_s=0)


def _report(health: Health, name: str = "eu") -> HealthReport:
    return health.reports([name])[name]


def test_failures_of_one_provider_are_not_those_of_another(health: Health, clock: SetClock) -> None:
    _fail(health, clock)
    assert health.failing_until_s("eu") == clock.now_s + OPEN_FIRST_S
    assert health.failing_until_s("us") is None


def test_one_of_many_waiting_calls_tries_half_open_provider(
    health: Health, clock: SetClock
) -> None:
    _fail(health, clock)
    clock.now_s += OPEN_FIRST_S
    usable = []
    for _ in range(100):
        usable.append(health.failing_until_s("eu") is None)
        if usable[-1]:
            health.enter("eu", uuid4())
    assert usable == [True] + [False] * 99


def test_request_that_leaves_without_call_lets_another_one_try(
    health: Health, clock: SetClock
) -> None:
    _fail(health, clock)
    clock.now_s += OPEN_FIRST_S
    health.enter("eu", ONE)
    health.leave(ONE)
    assert health.failing_until_s("eu") is None


def test_request_that_goes_elsewhere_lets_another_one_try(health: Health, clock: SetClock) -> None:
    _fail(health, clock)
    clock.now_s += OPEN_FIRST_S
    health.enter("eu", ONE)
    health.enter("us", ONE)
    assert health.failing_until_s("eu") is None


def test_request_beside_try_does_not_end_it(health: Health, clock: SetClock) -> None:
    _fail(health, clock)
    clock.now_s += OPEN_FIRST_S
    health.enter("eu", ONE)
    health.enter("eu", TWO)
    health.leave(TWO)
    assert health.failing_until_s("eu") is not None


def test_answer_to_try_ends_outage(health: Health, clock: SetClock) -> None:
    _fail(health, clock)
    clock.now_s += OPEN_FIRST_S
    health.enter("eu", ONE)
    health.record("eu", ANSWER, took_s=0)
    health.leave(ONE)
    assert health.failing_until_s("eu") is None
    assert _report(health).opens_in_s is None


def test_provider_has_no_more_calls_than_its_limit(health: Health) -> None:
    assert health.enter("eu", ONE, most=2)
    assert health.enter("eu", TWO, most=2)
    assert not health.enter("eu", uuid4(), most=2)
    health.leave(ONE)
    health.leave(ONE)
    assert health.enter("eu", uuid4(), most=2)
    assert not health.enter("eu", uuid4(), most=2)


def test_request_may_have_its_own_place_again(health: Health) -> None:
    assert health.enter("eu", ONE, most=1)
    assert health.enter("eu", ONE, most=1)
    assert _report(health).in_flight == 1


def test_request_that_found_no_place_has_none(health: Health) -> None:
    health.enter("eu", ONE)
    assert not health.enter("us", ONE, most=0)
    assert _report(health).in_flight == 0


def test_report_shows_last_answer_and_opening(health: Health, clock: SetClock) -> None:
    health.record("eu", ANSWER, took_s=0)
    clock.now_s += 10
    _fail(health, clock)
    clock.now_s += 2
    report = _report(health)
    assert (report.answered_s_ago, report.opens_in_s) == (12, OPEN_FIRST_S - 2)


def test_report_shows_calls_in_flight(health: Health) -> None:
    health.enter("eu", ONE)
    assert _report(health).in_flight == 1


def test_report_of_unknown_provider_is_empty(health: Health) -> None:
    report = _report(health, "new")
    assert (report.in_flight, report.answered_s_ago, report.opens_in_s) == (0, None, None)


@pytest.mark.parametrize(
    ("ended", "is_answer"),
    [
        (ANSWER, True),
        (Rejected("", provider_status=400), True),
        (Rejected("", provider_status=503), False),
        (ClientGone(""), False),
    ],
)
def test_last_answer_may_be_error_that_request_caused(
    health: Health, ended: Completion | ProviderFailed, is_answer: bool
) -> None:
    health.record("eu", ended, took_s=0)
    assert _report(health).answered_s_ago == (0 if is_answer else None)


def test_only_providers_called_last_are_remembered(health: Health, clock: SetClock) -> None:
    _fail(health, clock)
    for n in range(PROVIDERS_MAX - 1):
        health.record(f"row-{n}", ANSWER, took_s=0)
    assert health.failing_until_s("eu") is not None
    health.record("one more", ANSWER, took_s=0)
    assert health.failing_until_s("eu") is None
