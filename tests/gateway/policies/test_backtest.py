"""Backtests from audit rows: as values, as JSON, as a command."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from gateway.core.model_entries import model_entries
from gateway.guards.policies import Rule, applies_to
from gateway.models import AiRequestLog
from gateway.policies.backtests.backtest import ROWS_PER_PAGE, backtest
from gateway.policies.backtests.replay_report import EXAMPLES_MAX, NAMES_MAX, Backtest
from gateway.providers.catalog import load_catalog
from gateway.providers.known import known_models
from orgs.keys import operations
from orgs.models import Organization, User
from tests.commands import output_of
from tests.costs.charges import charge
from tests.factories import AiRequestLogFactory, PolicyFactory
from tests.gateway.conftest import Asking
from tests.gateway.local_rows import make_row

pytestmark = pytest.mark.django_db

NOON = datetime(2025, 6, 15, 10, tzinfo=UTC)  # noon in Paris
PARIS = ZoneInfo("Europe/Paris")
CATALOG = load_catalog(sandbox=True)
API = "/api/ai/policies/backtest"


def replay(org: Organization, *, days: int = 7, **limits: Any) -> Backtest:
    within_s = limits.pop("within_s", None)
    for name in ("allowed", "blocked"):
        limits[name] = model_entries(CATALOG, limits.get(name, ()))
    rule = Rule(id="", name="Draft", **limits)
    return backtest(
        organization_id=org.pk,
        zone=PARIS,
        rule=rule,
        known=known_models(org.pk, catalog=CATALOG),
        moment=NOON,
        days=days,
        within_s=within_s,
    )


def asked(org: Organization, ago: timedelta = timedelta(0), **fields: Any) -> AiRequestLog:
    """An allowed request as the journal writes it."""
    model = fields.get("model", "gpt-4o-mini")
    trace = {
        "model": {"requested": model, "meant": fields.pop("resolved", model), "provider": "openai"},
        "input": {"bytes": 40, "counted_tokens": fields.pop("counted", 9)},
        "output_cap": fields.pop("cap", 100),
        "output_cap_by": fields.pop("cap_by", "caller"),
        "output_cap_asked": fields.pop("cap_asked", 100),
        **fields.pop("trace", {}),
    }
    return AiRequestLogFactory.create(org=org, occurred_at=NOON - ago, decision=trace, **fields)


def test_cap_of_trace_counts_only_if_caller_asked_for_it(acme: Organization) -> None:
    asked(acme, cap=9_000, cap_by="room", cap_asked=None)
    asked(acme, cap=9_000, cap_by="room", cap_asked=12_000)
    assert replay(acme, max_tokens_per_request=5_000).refused == 1


def test_requests_that_could_search_are_those_of_trace_or_usage(acme: Organization) -> None:
    searched = {"buckets": {"web_searches": 2}}
    asked(acme, trace={"web_searches": 8})
    asked(acme, usage=searched)  # of an earlier version
    asked(acme, trace={"web_searches": 0}, usage=searched)
    asked(acme, trace={"web_searches": None})
    asked(acme)
    assert replay(acme, web_searches_per_request=0).codes == {"web_search_limit": 2}
    assert replay(acme, web_searches_per_request=1).refused == 0


def test_refused_requests_are_counted_with_what_they_cost(acme: Organization) -> None:
    asked(acme, model="gpt-4", cost_nanoeur=500, user_id="u-1", app_id="search")
    asked(acme, model="gpt-4", cost_nanoeur=700, user_id="u-2", app_id="search")
    asked(acme, cost_nanoeur=11)
    report = replay(acme, blocked=("gpt-4",))
    assert (report.requests, report.refused) == (3, 2)
    assert (report.not_spent_nanoeur, report.spent_nanoeur) == (1_200, 1_211)
    assert (report.user_count, report.app_count) == (2, 1)
    assert [(hit.value, hit.requests, hit.nanoeur) for hit in report.apps] == [("search", 2, 1_200)]
    assert report.codes == {"model_blocked": 2}
    assert report.is_complete


def test_blocked_requests_are_omitted_from_backtest(
    acme: Organization, globex: Organization
) -> None:
    asked(acme, model="gpt-4", status="blocked", code="model_blocked", cost_nanoeur=0)
    asked(globex, model="gpt-4")
    assert replay(acme, blocked=("gpt-4",)).requests == 0


def test_backtest_uses_resolved_model_of_alias(acme: Organization) -> None:
    asked(acme, requested_model="our-favourite", model="gpt-4-0613", resolved="gpt-4")
    assert replay(acme, blocked=("gpt-4",)).refused == 1
    assert replay(acme, allowed=("gpt-4o",)).refused == 1


def test_backtest_blocks_fine_tunes_of_blocked_model(acme: Organization) -> None:
    asked(acme, model="ft:gpt-4o-mini-2024-07-18:acme::abc")
    assert replay(acme, blocked=("gpt-4o-mini",)).codes == {"model_blocked": 1}
    assert replay(acme, allowed=("gpt-4o-mini",)).codes == {"model_not_allowed": 1}
    assert replay(acme, allowed=("ft:*",)).refused == 0


@pytest.mark.parametrize(
    ("named", "count"),
    [
        ({"team_id": ["RESEARCH"]}, 2),
        ({"team_id": ["research"], "channel": ["messages"]}, 1),
        ({"provider": ["OpenAI"]}, 4),
        ({"provider": ["anthropic"]}, 0),
        ({"channel": ["api", "messages"]}, 4),
        ({"user_id": ["u"], "app_id": ["a"], "task_type": ["t"]}, 1),
        ({}, 4),
    ],
)
def test_policy_is_judged_on_requests_that_it_names(
    acme: Organization, named: dict[str, list[str]], count: int
) -> None:
    asked(acme, team_id="research", cost_nanoeur=5)
    asked(acme, team_id="Research", channel="messages")
    asked(acme, team_id="sales")
    asked(acme, user_id="u", app_id="A", task_type="t")
    report = replay(acme, blocked=("*",), applies_to=applies_to(named))
    assert (report.requests, report.refused) == (count, count)
    assert report.names_calls == bool(named)


def test_policy_of_key_is_judged_on_all_rotations(acme: Organization) -> None:
    first, other = (operations.create_key(org=acme, name=name)[0] for name in ("CI", "other"))
    second, _ = operations.rotate_key(key=first)
    for key_id in (first.pk, second.pk, other.pk, None):
        asked(acme, key_id=key_id)
    named = applies_to({"key_id": [str(first.pk)]})
    assert replay(acme, blocked=("*",), applies_to=named).refused == 2


def test_cost_of_day_counts_requests_that_policy_names(acme: Organization) -> None:
    for n in range(4):
        at = timedelta(minutes=10 - n)
        ended = {"completed_at": NOON - at, "hold_nanoeur": 900, "cost_nanoeur": 900}
        asked(acme, at, team_id="research" if n % 2 else "sales", **ended)
    limits: dict[str, Any] = {"max_cost_per_day_nanoeur": 1_800, "wait_s": 0}
    assert replay(acme, **limits).refused == 2
    assert replay(acme, **limits, applies_to=applies_to({"team_id": ["research"]})).refused == 0
    limits["max_cost_per_day_nanoeur"] = 1_799
    assert replay(acme, **limits, applies_to=applies_to({"team_id": ["research"]})).refused == 1


def test_rates_are_replayed_with_tokens_of_rows(acme: Organization) -> None:
    # Each takes 109 tokens, of which the first uses 11 and the second 100.
    for ago_s, more in ((120, {}), (119, {"output_tokens": 91}), (118, {})):
        at = timedelta(seconds=ago_s)
        asked(acme, at, team_id="t", completed_at=NOON - at + timedelta(seconds=0.1), **more)
    asked(acme, timedelta(seconds=118))
    limits: dict[str, Any] = {"wait_s": 0, "applies_to": applies_to({"team_id": ["t"]})}
    assert replay(acme, tokens_per_minute=230, **limits).refused == 0
    assert replay(acme, tokens_per_minute=150, **limits).refused == 1
    assert replay(acme, requests_per_minute=2, **limits).codes == {"rate_limited": 1}
    assert replay(acme, requests_per_minute=3, **limits).refused == 0


@pytest.mark.django_db(transaction=True)
def test_command_and_api_judge_named_requests(
    ask: Asking, acme: Organization, gateway: object
) -> None:
    key, _ = operations.create_key(org=acme, name="CI")
    AiRequestLogFactory.create(org=acme, key_id=key.pk)
    AiRequestLogFactory.create(org=acme)
    options = ("--keys", "CI", "--block", "*", "--format", "json")
    found = json.loads(output_of("policies", "backtest", "acme", *options))
    assert (found["policy"], found["refused"]) == ("Applies to key CI: blocks *.", 1)
    text = output_of("policies", "backtest", "acme", "--keys", "CI", "--block", "*")
    assert "1 of the 1 requests of the last 30 days that it applies to" in text
    for typed in ("CI", key.public, str(key.pk)):
        reply = ask(path=f"{API}?keys={typed}&block=*", method="GET")
        assert (reply.json["refused"], reply.json["requests"]) == (1, 1)
    assert ask(path=f"{API}?channels=api&block=*", method="GET").json["refused"] == 2
    assert ask(path=f"{API}?keys=nothing", method="GET").status == 404
    assert ask(path=f"{API}?channels=telex", method="GET").status == 400


def test_backtest_uses_organization_days(acme: Organization) -> None:
    midnight = timedelta(hours=12)  # of Paris, before NOON
    asked(acme, midnight + timedelta(days=6))
    asked(acme, midnight + timedelta(days=6, microseconds=1))
    report = replay(acme, days=7, blocked=("*",))
    assert report.refused == 1
    assert [day.on for day in report.days][:: len(report.days) - 1] == [
        date(2025, 6, 15),
        date(2025, 6, 9),
    ]


def test_each_day_starts_with_full_limit(acme: Organization) -> None:
    for days in (0, 1):
        for minutes in (0, 1, 2):
            ago = timedelta(days=days, minutes=minutes)
            asked(acme, ago, hold_nanoeur=1_000, cost_nanoeur=600, model="unheard-of")
    # 600 is charged when the second asks for 1,000, 1,200 when the third does
    report = replay(acme, max_cost_per_day_nanoeur=1_600)
    assert [day.refused for day in report.days[:3]] == [1, 1, 0]
    assert report.not_spent_nanoeur == 1_200
    assert "1.00 EUR" not in report.examples[0].sentence
    assert report.examples[0].code == "daily_cost_limit"


def test_row_without_trace_is_evaluated_by_its_columns(acme: Organization) -> None:
    AiRequestLogFactory.create(org=acme, occurred_at=NOON, model="gpt-4", decision={})
    assert replay(acme, blocked=("gpt-4",)).refused == 1
    assert replay(acme, max_tokens_per_request=1).refused == 0


def test_missing_trace_values_are_not_zero(acme: Organization) -> None:
    asked(acme, counted=None, resolved=None, input_tokens=50, cap=100)
    assert replay(acme, max_tokens_per_request=149).codes == {"token_limit": 1}
    assert replay(acme, max_tokens_per_request=150).refused == 0
    assert replay(acme, blocked=("gpt-4o-mini",)).refused == 1


def test_paging_skips_no_rows(
    acme: Organization, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    AiRequestLog.objects.bulk_create(
        AiRequestLogFactory.build(org=acme, occurred_at=NOON - timedelta(seconds=n // 100))
        for n in range(2 * ROWS_PER_PAGE + 1)
    )
    # This day's pages, the empty days, the prices, the providers.
    with django_assert_max_num_queries(3 + 6 + 5 + 1):
        report = replay(acme, blocked=("*",))
    assert report.refused == 2 * ROWS_PER_PAGE + 1
    assert len(report.examples) == EXAMPLES_MAX


def test_report_is_incomplete_after_time_limit(acme: Organization) -> None:
    for days in range(4):
        asked(acme, timedelta(days=days))
    report = replay(acme, within_s=0, blocked=("*",))
    assert not report.is_complete
    assert (len(report.days), report.refused) == (1, 1)


def test_names_are_counted_in_bounded_memory(acme: Organization) -> None:
    AiRequestLog.objects.bulk_create(
        AiRequestLogFactory.build(org=acme, occurred_at=NOON, user_id=f"u-{n}")
        for n in range(NAMES_MAX + 1)
    )
    report = replay(acme, blocked=("*",))
    assert (report.refused, report.user_count) == (NAMES_MAX + 1, NAMES_MAX)


# --- JSON and the command ------------------------------------------------------------------------


policies = partial(output_of, "policies")


def just_now(org: Organization, **fields: Any) -> AiRequestLog:
    return AiRequestLogFactory.create(org=org, **fields)


@pytest.mark.django_db(transaction=True)
def test_api_returns_backtest(ask: Asking, acme: Organization, globex: Organization) -> None:
    row = just_now(acme, model="gpt-4", cost_nanoeur=1_500, user_id="u-1", app_id="search")
    just_now(acme)
    just_now(globex, model="gpt-4")
    reply = ask(method="GET", path=f"{API}?block=gpt-4,o1*&days=7")
    assert reply.status == 200
    body = reply.json
    assert (body["requests"], body["refused"], body["complete"]) == (2, 1, True)
    assert body["notSpentEur"] == 1.5e-6
    assert body["policy"] == "Blocks gpt-4 and o1*."
    assert body["users"] == [{"userId": "u-1", "requests": 1, "costEur": 1.5e-6}]
    [example] = body["examples"]
    assert example["requestId"] == str(row.pk)
    assert example["error"] == 'Model gpt-4 is blocked by policy "this policy"'
    assert len(body["byDay"]) == body["judgedDays"] == 7


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("days=8", "days must be one of 7, 30, 90"),
        ("block=gpt%204", "block must match the pattern in GET /api/schema"),
        ("allow=", "allow must match the pattern in GET /api/schema"),
        ("block=" + "a*" * 11, "must have at most 10 wildcards (*), not 11"),
        ("maxCostPerDayEur=-1", "maxCostPerDayEur must match the pattern in GET /api/schema"),
        ("maxTokensPerRequest=0", "maxTokensPerRequest must match the pattern in GET /api/schema"),
        ("webSearchesPerRequest=1001", "webSearchesPerRequest: Ensure this value"),
        ("maxTokensPerRequest=9999999999999999999", "maxTokensPerRequest: Ensure this value"),
        ("model=x", 'Unknown parameter "model"'),
    ],
)
@pytest.mark.django_db(transaction=True)
def test_api_names_invalid_field(ask: Asking, query: str, sentence: str) -> None:
    status, code, printed = ask(method="GET", path=f"{API}?{query}").refusal
    assert (status, code) == (400, "invalid_request")
    assert sentence in printed


@pytest.mark.django_db(transaction=True)
def test_key_with_partial_view_cannot_backtest(ask: Asking, acme: Organization) -> None:
    _, scoped = operations.create_key(org=acme, name="scoped", team_id="blue")
    reply = ask(method="GET", path=API, key=scoped)
    assert (reply.status, reply.json["code"]) == (403, "dimension_fixed_by_key")
    assert ask(method="GET", path=API, key="").status == 401


@pytest.mark.usefixtures("gateway")
@pytest.mark.django_db(transaction=True)
def test_auditor_can_backtest_from_browser(
    client_for: Callable[[User], Client], auditor_user: User
) -> None:
    assert client_for(auditor_user).get(API).status_code == 200


def test_command_backtests_policy_with_changes(acme: Organization) -> None:
    PolicyFactory.create(org=acme, name="Strict", blocked_models=["gpt-4"])
    row = just_now(acme, model="gpt-4", user_id="u-1", app_id="search")
    printed = policies("backtest", "acme", "strict", "--days", "7")
    assert "Blocks gpt-4." in printed
    assert "It would have blocked 1 of the 1 requests of the last 7 days" in printed
    assert str(row.pk) in printed
    loosened = policies("backtest", "acme", "strict", "--block", "gpt-3.5-turbo")
    assert "It would have blocked none of the 1 requests of the last 30 days." in loosened
    found = json.loads(policies("backtest", "acme", "--format", "json"))
    assert (found["days"], found["requests"], found["refused"]) == (30, 1, 0)


def test_command_reports_period_without_requests(acme: Organization) -> None:
    assert "nothing to evaluate" in policies("backtest", "acme", "--block", "x")


def test_session_is_limited_over_its_days(acme: Organization) -> None:
    """What it cost on the day before is left over for no other."""
    yesterday, cost = timedelta(days=1), 2_328
    asked(acme, yesterday, session_id="s")
    charge(acme, cost, occurred_at=NOON - yesterday, session_id="s")
    asked(acme, session_id="s", cap=0)
    asked(acme, session_id="t", cap=0)
    limit = 10_000 + cost  # the hold of one call, and what the first one cost
    assert replay(acme, max_cost_per_session_nanoeur=limit).refused == 0
    assert replay(acme, max_cost_per_session_nanoeur=limit - 1).refused == 1


def test_models_of_rows_are_judged_at_called_provider(acme: Organization) -> None:
    make_row("azure-eu", regions=["eu"])
    trace = {"model": {"requested": "x", "meant": "gpt-4o", "provider": "azure-eu"}}
    asked(acme, model="gpt-4o", provider="azure-eu", trace=trace)
    asked(acme, model="gpt-4o", provider="removed", trace=trace)
    asked(acme, model="gpt-4o", provider="openai")
    for blocked, refused in (
        ("gpt-4o", 3),
        ("azure-eu/*", 1),
        ("removed/gpt-4o", 1),
        ("openai/*", 1),
        ("region:eu", 1),
    ):
        assert replay(acme, blocked=(blocked,)).refused == refused
