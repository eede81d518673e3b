"""Replay of rates: requests and tokens per minute, and requests at once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.policies.test_replay import LARGE, code, day, past


def codes(limits: dict[str, Any], *requests: Any) -> list[str | None]:
    replayed = day(**{"wait_s": 0} | limits)
    return [code(replayed, request) for request in requests]


def burst(count: int, at: float = 0, **more: Any) -> list[Any]:
    return [past(at, **more) for _ in range(count)]


def test_minute_has_so_many_requests_and_refills_continuously() -> None:
    limits = {"requests_per_minute": 2}
    assert codes(limits, *burst(3)) == [None, None, "rate_limited"]
    later = [past(29.9), past(30), past(30)]
    assert codes(limits, *burst(2), *later) == [None, None, "rate_limited", None, "rate_limited"]
    # What a minute did not use is not kept.
    assert codes(limits, *burst(3, at=600)) == [None, None, "rate_limited"]


@pytest.mark.parametrize(("wait_s", "refused"), [(29, True), (30, False)])
def test_request_waits_for_its_turn(wait_s: int, refused: bool) -> None:
    limits = {"requests_per_minute": 2, "wait_s": wait_s}
    assert codes(limits, *burst(3)) == [None, None, "rate_limited" if refused else None]


def test_request_waits_behind_those_that_came_before() -> None:
    limits = {"requests_per_minute": 1, "wait_s": 120}
    assert codes(limits, *burst(4)) == [None, None, None, "rate_limited"]
    # The third has its turn after 120 s, so the next one's is after 180.
    assert codes(limits, *burst(3), past(59), past(60)) == [None] * 3 + ["rate_limited", None]


def test_refused_request_takes_nothing_of_rates() -> None:
    limits = {"requests_per_minute": 2, "max_tokens_per_request": 599}
    small = past(cap_tokens=100, asked_tokens=100)
    expected = ["token_limit"] * 5 + [None, None, "rate_limited"]
    assert codes(limits, *burst(5), small, small, small) == expected


def test_so_many_requests_run_at_once() -> None:
    limits = {"concurrent_requests": 2}
    running = burst(3, lasts_s=60)
    assert codes(limits, *running) == [None, None, "rate_limited"]
    assert codes(limits, *running, past(59.9), past(60)) == [
        *(None, None, "rate_limited"),
        *("rate_limited", None),
    ]
    assert codes(limits | {"wait_s": 60}, *running) == [None, None, None]
    assert codes(limits | {"wait_s": 59}, *running) == [None, None, "rate_limited"]


def test_waiting_request_runs_as_long_as_it_did() -> None:
    limits = {"concurrent_requests": 1, "wait_s": 60}
    first, second = past(lasts_s=60), past(10, lasts_s=30)  # from 60 to 90 s
    assert codes(limits, first, second, past(29, lasts_s=1)) == [None, None, "rate_limited"]
    assert codes(limits, first, second, past(30, lasts_s=1)) == [None, None, None]


def test_tokens_are_counted_input_and_cap_until_request_ends() -> None:
    limits = {"tokens_per_minute": 1_200}
    long = {"lasts_s": 1_000, "input_tokens": 100, "output_tokens": 0}
    assert codes(limits, *burst(3, **long)) == [None, None, "rate_limited"]  # 600 each
    # Those that have ended used 100 each.
    short = long | {"lasts_s": 0.001}
    assert codes(limits, *burst(2, **short), past(0.001), past(0.001)) == [
        *(None, None, None),
        "rate_limited",
    ]
    # What the provider did not report stays as it was taken.
    unknown: dict[str, Any] = {"lasts_s": 0.001, "input_tokens": None, "output_tokens": None}
    assert codes(limits, *burst(2, **unknown), past(0.001)) == [None, None, "rate_limited"]


def test_tokens_that_were_refilled_are_not_given_back() -> None:
    limits = {"tokens_per_minute": 600}
    used = {"input_tokens": 0, "output_tokens": 0}
    # 600 were taken; after 30 s 300 of them are refilled, and the other 300 come back.
    assert codes(limits, past(lasts_s=30, **used), past(30)) == [None, None]
    assert codes(limits, past(lasts_s=31, **used), past(30)) == [None, "rate_limited"]
    assert codes(limits, past(lasts_s=30, **used), past(30), past(30)) == [
        *(None, None),
        "rate_limited",
    ]


def test_request_of_more_tokens_than_minute_has_is_refused_for_good() -> None:
    limits = {"tokens_per_minute": 599, "wait_s": 3600}
    assert codes(limits, past()) == ["token_limit"]
    lowered = past(cap_by="model", asked_tokens=None)
    assert codes(limits, lowered) == [None]


def test_request_that_holds_no_money_takes_no_tokens() -> None:
    limits = {"tokens_per_minute": 600}
    assert codes(limits, *burst(3, bound_nanoeur=0), past()) == [None] * 4
    never_held = past(bound_nanoeur=None)
    assert codes({"requests_per_minute": 1}, never_held, never_held, past()) == [None] * 3


def test_spent_money_comes_before_rates_and_held_money_after() -> None:
    limits = {"requests_per_minute": 1, "max_cost_per_day_nanoeur": 1_000}
    ended = past(lasts_s=0.001, model=LARGE)
    assert codes(limits, ended, past(1, model=LARGE)) == [None, "daily_cost_limit"]
    refusal = day(requests_per_minute=1, max_cost_per_day_nanoeur=1_799, wait_s=0)
    assert refusal.judge(past(lasts_s=60, model=LARGE)) is None
    found = refusal.judge(past(1, model=LARGE))
    assert found is not None
    assert 'exceeds 1 requests per minute of policy "Draft"' in found.message


def test_request_with_its_turn_still_waits_for_room() -> None:
    limits = {"requests_per_minute": 1, "max_cost_per_day_nanoeur": 1_799}
    first, second = past(lasts_s=70, model=LARGE), past(model=LARGE)
    assert codes(limits | {"wait_s": 70}, first, second) == [None, None]
    assert codes(limits | {"wait_s": 69}, first, second) == [None, "rate_limited"]


@pytest.mark.parametrize(("lasts_s", "refused"), [(10, None), (21, "rate_limited")])
def test_request_waits_for_tokens_that_calls_in_flight_give_back(
    lasts_s: float, refused: str | None
) -> None:
    limits = {"tokens_per_minute": 600, "wait_s": 20}
    used = {"input_tokens": 0, "output_tokens": 0}
    assert codes(limits, past(lasts_s=lasts_s, **used), past()) == [None, refused]


def test_request_whose_turn_comes_too_late_is_refused_at_once() -> None:
    limits = {"requests_per_minute": 1, "wait_s": 20}
    assert codes(limits, past(lasts_s=10), past()) == [None, "rate_limited"]
