"""Replay: the verdict of a request, recomputed from its audit row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.core.model_entries import model_entries
from gateway.core.model_names import Model
from gateway.guards.policies import Rule
from gateway.policies.backtests.replay import EARLIER_CAP_TOKENS, PastRequest, ReplayedDay
from gateway.providers.catalog import load_catalog

MORNING = datetime(2025, 6, 1, 8, tzinfo=UTC)
NIGHT = datetime(2025, 6, 2, tzinfo=UTC)
CATALOG = load_catalog(sandbox=True)
MINI = Model(id="gpt-4o-mini", provider="openai", max_output_tokens=16_384)
LARGE = Model(id="claude-3-opus", provider="anthropic", token_margin=1.5)


def past(seconds: float = 0, *, lasts_s: float = 1, **changes: Any) -> PastRequest:
    at = MORNING + timedelta(seconds=seconds)
    values: dict[str, Any] = {
        "occurred_at": at,
        "ended_at": at + timedelta(seconds=lasts_s),
        "named": "gpt-4o-mini",
        "model": MINI,
        "text_bytes": 400,
        "counted_tokens": 100,
        "input_tokens": 100,
        "cap_tokens": 500,
        "cap_by": "caller",
        "asked_tokens": 500,
        "bound_nanoeur": 900,
        "cost_nanoeur": 300,
    }
    return PastRequest(**values | changes)


def day(**limits: Any) -> ReplayedDay:
    """A day under a policy; an input token costs 1 nano-euro and an output token 2."""
    for name in ("allowed", "blocked"):
        limits[name] = model_entries(CATALOG, limits.get(name, ()))
    return ReplayedDay(
        Rule(id="", name="Draft", **limits), NIGHT, lambda _model, _at, given, out: given + 2 * out
    )


def code(day: ReplayedDay, request: PastRequest) -> str | None:
    refusal = day.judge(request)
    return refusal.code if refusal else None


def test_policy_without_limits_blocks_nothing() -> None:
    assert code(day(), past()) is None


def test_blocked_and_unlisted_models_have_request_sentence() -> None:
    refusal = day(blocked=("gpt-4o-mini",)).judge(past(named="openai/gpt-4o-mini"))
    assert refusal is not None
    assert refusal.message == 'Model openai/gpt-4o-mini is blocked by policy "Draft"'
    assert code(day(allowed=("gpt-4",)), past()) == "model_not_allowed"
    assert code(day(allowed=("gpt-4o-mini",)), past()) is None


@pytest.mark.parametrize(("limit", "refused"), [(599, True), (600, False)])
def test_token_limit_counts_input_and_requested_cap(limit: int, refused: bool) -> None:
    found = code(day(max_tokens_per_request=limit), past())
    assert found == ("token_limit" if refused else None)


@pytest.mark.parametrize(
    ("cap", "cap_by"),
    [
        (MINI.max_output_tokens, "model"),
        (9_000, "room"),
        (EARLIER_CAP_TOKENS, None),  # of an earlier version
        (MINI.max_output_tokens, None),
    ],
)
def test_cap_not_asked_for_is_lowered_to_policy_limit(cap: int, cap_by: str | None) -> None:
    asked = past(cap_tokens=cap, cap_by=cap_by, asked_tokens=None)
    assert code(day(max_tokens_per_request=150), asked) is None
    # where the input alone fills the limit there is no room to cap to
    assert code(day(max_tokens_per_request=99), asked) == "token_limit"


def test_policys_output_tokens_lower_any_cap() -> None:
    limits = {"tokens_per_minute": 300, "max_output_tokens": 200}
    assert code(day(**limits), past()) is None
    assert code(day(**limits | {"max_output_tokens": 201}), past()) == "token_limit"


@pytest.mark.parametrize(("asked", "refused"), [(201, True), (200, False), (None, False)])
def test_lowered_cap_makes_no_request_smaller_than_asked_for(
    asked: int | None, refused: bool
) -> None:
    limits = {"max_tokens_per_request": 300, "max_output_tokens": 50}
    found = code(day(**limits), past(asked_tokens=asked, cap_by="caller" if asked else "model"))
    assert found == ("token_limit" if refused else None)


def test_request_that_could_search_is_refused_where_no_search_is_allowed() -> None:
    assert code(day(web_searches_per_request=0), past(web_searches=8)) == "web_search_limit"
    assert code(day(web_searches_per_request=0), past()) is None
    assert code(day(web_searches_per_request=1), past(web_searches=8)) is None


def test_other_cap_of_earlier_row_was_asked_for() -> None:
    asked = past(cap_by=None, asked_tokens=None)
    assert code(day(max_tokens_per_request=599), asked) == "token_limit"


def test_reported_input_tokens_replace_missing_count() -> None:
    limited = {"max_tokens_per_request": 599}
    assert code(day(**limited), past(counted_tokens=None)) == "token_limit"
    assert code(day(**limited), past(counted_tokens=None, input_tokens=99)) is None
    assert code(day(**limited), past(counted_tokens=None, input_tokens=None)) is None


@pytest.mark.parametrize(("limit", "refused"), [(1_199, True), (1_200, False)])
def test_daily_limit_holds_bound_and_charges_cost(limit: int, refused: bool) -> None:
    today = day(max_cost_per_day_nanoeur=limit)
    assert code(today, past(model=LARGE)) is None
    # the first has ended and cost 300, so the second's bound of 900 needs 1,200
    found = today.judge(past(60, model=LARGE))
    assert (found.code if found else None) == ("daily_cost_limit" if refused else None)


@pytest.mark.parametrize(("limit", "refused"), [(1_799, True), (1_800, False)])
def test_calls_in_flight_hold_their_bound(limit: int, refused: bool) -> None:
    today = day(max_cost_per_day_nanoeur=limit)
    assert code(today, past(lasts_s=120, model=LARGE)) is None
    assert (code(today, past(60, model=LARGE)) == "rate_limited") == refused


@pytest.mark.parametrize(("wait_s", "refused"), [(59, True), (60, False)])
def test_request_waits_for_calls_in_flight(wait_s: int, refused: bool) -> None:
    today = day(max_cost_per_day_nanoeur=1_799, wait_s=wait_s)
    assert code(today, past(lasts_s=120, model=LARGE)) is None
    assert code(today, past(60, lasts_s=10, model=LARGE)) == ("rate_limited" if refused else None)
    assert code(day(max_cost_per_day_nanoeur=899, wait_s=600), past(model=LARGE)) is not None


def test_request_that_waited_ends_later() -> None:
    today = day(max_cost_per_day_nanoeur=1_799, wait_s=60)
    assert code(today, past(lasts_s=120, model=LARGE)) is None
    assert code(today, past(60, lasts_s=70, model=LARGE)) is None  # from 120 to 190 s
    assert code(today, past(129, model=LARGE)) == "rate_limited"
    assert code(today, past(130, model=LARGE)) is None


def test_cost_of_refused_request_remains_available() -> None:
    today = day(max_cost_per_day_nanoeur=1_000, blocked=("gpt-4o-mini",))
    assert code(today, past()) == "model_blocked"
    assert code(today, past(60, model=LARGE, named="claude-3-opus")) is None


@pytest.mark.parametrize(("asked", "least"), [(None, 8_192), (16_384, 8_192), (5_000, 5_000)])
def test_cap_is_lowered_to_what_is_left_of_day(asked: int | None, least: int) -> None:
    cap = asked or MINI.max_output_tokens
    request = past(
        cap_tokens=cap,
        cap_by="caller" if asked else "model",
        asked_tokens=asked,
        bound_nanoeur=100 + 2 * cap,
        text_bytes=100,
    )
    fits = 100 + 2 * least
    assert code(day(max_cost_per_day_nanoeur=fits), request) is None
    assert code(day(max_cost_per_day_nanoeur=fits - 1), request) == "daily_cost_limit"


def test_lowered_cap_holds_what_was_left() -> None:
    today = day(max_cost_per_day_nanoeur=20_000)
    wide: dict[str, Any] = {
        "cap_tokens": 16_384,
        "cap_by": "model",
        "asked_tokens": None,
        "text_bytes": 100,
    }
    assert code(today, past(lasts_s=120, bound_nanoeur=100 + 2 * 16_384, **wide)) is None
    assert code(today, past(60, model=LARGE, bound_nanoeur=1)) == "rate_limited"
    assert code(today, past(180, model=LARGE, bound_nanoeur=1)) is None


def test_vendor_count_is_used_before_refusal() -> None:
    # 400 bytes were held for; the count of 100 with its margin is 102, so 298 less would do
    assert code(day(max_cost_per_day_nanoeur=900 - 298), past()) is None
    assert code(day(max_cost_per_day_nanoeur=900 - 299), past()) == "daily_cost_limit"
    assert code(day(max_cost_per_day_nanoeur=899), past(model=LARGE)) == "daily_cost_limit"


def test_row_without_figures_is_allowed() -> None:
    empty = past(
        model=None, counted_tokens=None, input_tokens=None, cap_tokens=None, bound_nanoeur=None
    )
    limits = {"blocked": ("*",), "max_tokens_per_request": 1, "max_cost_per_day_nanoeur": 0}
    assert code(day(**limits), empty) is None


def test_request_of_unknown_model_counts_its_cost() -> None:
    today = day(max_cost_per_day_nanoeur=900)
    assert code(today, past(model=None)) is None
    assert code(today, past(60, model=LARGE)) == "daily_cost_limit"


# --- the limit of a session ---------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "refused"), [(1_199, True), (1_200, False)])
def test_session_limit_counts_its_own_calls(limit: int, refused: bool) -> None:
    today = day(max_cost_per_session_nanoeur=limit)
    least = {"cap_tokens": 0, "bound_nanoeur": 900, "text_bytes": 100}
    assert code(today, past(session_id="s", **least)) is None
    assert code(today, past(5, session_id="t", **least)) is None
    assert code(today, past(6, **least)) is None  # of no session
    found = today.judge(past(7, session_id="s", **least))
    assert (found is not None) is refused
    if found is not None:
        assert found.code == "budget_limit"
        assert 'policy "Draft" allows ' in found.message


def test_session_limit_counts_days_before() -> None:
    today = day(max_cost_per_session_nanoeur=1_000)
    today.spent_before = {"s": 101, "t": 100}.__getitem__
    least = {"cap_tokens": 0, "bound_nanoeur": 900, "text_bytes": 100}
    assert code(today, past(session_id="s", **least)) == "budget_limit"
    assert code(today, past(session_id="t", **least)) is None
