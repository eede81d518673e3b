"""Policies checked in memory: which refuses, in which order, and with which sentence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from costs.core.admission import Balance
from gateway.core.calls import Dimensions
from gateway.core.errors import Refused
from gateway.core.model_entries import model_entries
from gateway.core.model_names import Model
from gateway.core.usage_bound import UsesLimit
from gateway.guards.policies import (
    EXPLAINED_MAX,
    NeededTokens,
    Rule,
    explained,
    model_verdicts,
    refusal_for_cost,
    refusal_for_model,
    refusal_for_searches,
    refusal_for_tokens,
)
from gateway.guards.rule_sets import RuleIndex, RuleSet
from gateway.providers.catalog import load_catalog

CATALOG = load_catalog(True)
NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
EUR = 10**9


def rule(name: str = "Production Policy", **limits: Any) -> Rule:
    for lists in ("allowed", "blocked"):
        limits[lists] = model_entries(CATALOG, limits.get(lists, ()))
    return Rule(id=name, name=name, **limits)


def all_of(rules: Sequence[Rule]) -> RuleSet:
    """Return the policies of a call that all of them apply to."""
    return RuleIndex(rules).of({})


def model(name: str) -> Model:
    found = CATALOG.find(name)
    assert found is not None, name
    return found


def sentence_of(refusal: Refused | None) -> str | None:
    return refusal.message if refusal else None


@pytest.mark.parametrize(
    ("entry", "name", "matches"),
    [
        ("gpt-4", "gpt-4", True),
        ("gpt-4", " OpenAI/GPT-4 ", True),
        ("GPT-4 ", "gpt-4-0613", True),
        ("gpt-4", "gpt-4-2024-01-01", True),
        ("gpt-4", "gpt-4o", False),
        ("gpt-4", "gpt-4-turbo", False),
        ("gpt-4-0613", "gpt-4-0314", False),
        ("claude-3-5-sonnet", "claude-3-5-sonnet-20241022", True),
        ("claude-3-5-sonnet", "claude-3-5-sonnet-latest", True),
        ("gpt-4*", "gpt-4o", True),
        ("*", "gemini-2.0-flash", True),
        ("openai/*", "gpt-4o", True),
        ("openai/*", "claude-3-5-sonnet", False),
        ("*sonnet*", "claude-3-5-sonnet", True),
    ],
)
def test_entry_matches_equally_in_block_and_allow_lists(
    entry: str, name: str, matches: bool
) -> None:
    blocked = refused(name, [rule(blocked=[entry])])
    allowed = refused(name, [rule(allowed=[entry])])
    sentence = f'Model {name} is %s by policy "Production Policy"'
    assert sentence_of(blocked) == (sentence % "blocked" if matches else None)
    assert sentence_of(allowed) == (None if matches else sentence % "not allowed")


def refused(name: str, rules: list[Rule]) -> Refused | None:
    return refusal_for_model(model_verdicts(model(name), rules), named=name, rules=rules)


def test_fine_tune_of_blocked_model_is_blocked_and_of_allowed_model_not_allowed() -> None:
    name = "ft:gpt-4o-mini-2024-07-18:acme::abc"
    refusal = refused(name, [rule(blocked=["gpt-4o-mini"])])
    assert sentence_of(refusal) == f'Model {name} is blocked by policy "Production Policy"'
    refusal = refused(name, [rule(allowed=["gpt-4o-mini"])])
    assert sentence_of(refusal) == f'Model {name} is not allowed by policy "Production Policy"'
    assert refused(name, [rule(allowed=["gpt-4o-mini", "ft:*"])]) is None
    assert refused(name, [rule(allowed=["*"])]) is None


def test_blocks_are_checked_before_allows_in_policy_order() -> None:
    allows, blocks = rule("A", allowed=["gpt-4o"]), rule("B", blocked=["gpt-4"])
    also = rule("C", blocked=["gpt-4"])
    refusal = refused("gpt-4", [allows, also, blocks])
    assert refusal is not None
    assert (refusal.status, refusal.code) == (403, "model_blocked")
    assert refusal.message == 'Model gpt-4 is blocked by policy "C"'


def test_model_must_be_on_every_allow_list() -> None:
    rules = [rule("A", allowed=["gpt-4o", "gpt-4"]), rule("B", allowed=["gpt-4"]), rule("C")]
    assert refused("gpt-4", rules) is None
    refusal = refused("gpt-4o", rules)
    assert refusal is not None
    assert refusal.code == "model_not_allowed"
    assert refusal.message == 'Model gpt-4o is not allowed by policy "B"'


def test_token_limit_is_inclusive() -> None:
    rules = [rule("wide", max_tokens_per_request=6000), rule(max_tokens_per_request=5000)]
    assert refusal_for_tokens(NeededTokens(asked=5000, sent=5000), rules=rules) is None
    refusal = refusal_for_tokens(NeededTokens(asked=5001, sent=5001), rules=rules)
    assert refusal is not None
    assert (refusal.status, refusal.code) == (403, "token_limit")
    assert refusal.message == (
        'Request needs up to 5001 tokens; policy "Production Policy" allows 5000 per request'
    )


def test_only_number_of_0_refuses_searches() -> None:
    rules = [rule("some", web_searches_per_request=1), rule("no", web_searches_per_request=0)]
    assert refusal_for_searches(0, rules=rules) is None
    assert refusal_for_searches(8, rules=rules[:1]) is None
    refusal = refusal_for_searches(1, rules=rules)
    assert refusal is not None
    assert (refusal.status, refusal.code) == (403, "web_search_limit")
    assert refusal.message == 'Request could search the web; policy "no" allows no web searches'


def test_smallest_number_of_searches_decides_and_is_at_least_1() -> None:
    rules = [rule("a"), rule("b", web_searches_per_request=9)]
    assert all_of(rules[:1]).searches_limit is None
    assert all_of(rules).searches_limit == UsesLimit(most=9, policy="b")
    for most, decides in ((0, 1), (1, 1), (8, 8)):
        limit = all_of([*rules, rule("c", web_searches_per_request=most)]).searches_limit
        assert limit == UsesLimit(most=decides, policy="c")


def balance(charged: int, held: int) -> Balance:
    return Balance(
        limit_nanoeur=50 * EUR,
        charged_nanoeur=charged,
        held_nanoeur=held,
        ends_at=NOW + timedelta(hours=1, milliseconds=1),
    )


def cost_refusal(charged: int, held: int, bound: int) -> Refused:
    return refusal_for_cost(
        rule(max_cost_per_day_nanoeur=50 * EUR),
        bound_nanoeur=bound,
        balance=balance(charged, held),
        now=NOW,
    )


def test_spent_daily_limit_has_room_and_end() -> None:
    refusal = cost_refusal(50 * EUR - 4_500_000, 0, 12_300_000)
    assert (refusal.status, refusal.code) == (403, "daily_cost_limit")
    assert refusal.message == (
        'Request could cost up to 0.0123 EUR; policy "Production Policy" allows 50.00 EUR per day '
        "and 0.0045 EUR are left"
    )
    assert refusal.retry_after_s == 3601  # rounded up: never asked to come before there is room


def test_room_held_by_running_calls_is_retried_after_one_second() -> None:
    fits = cost_refusal(40 * EUR, 5 * EUR, 10 * EUR)
    assert fits.retry_after_s == 1
    never = cost_refusal(40 * EUR, 5 * EUR, 10 * EUR + 1)
    assert never.retry_after_s == 3601


def test_rounded_amounts_do_not_contradict_refusal() -> None:
    refusal = cost_refusal(50 * EUR - 1_234_599, 0, 1_234_600)
    assert "up to 0.001235 EUR" in refusal.message
    assert "0.001234 EUR are left" in refusal.message


def test_lowest_limits_are_found() -> None:
    rules = [
        rule("none"),
        rule("zero", max_cost_per_day_nanoeur=0, max_tokens_per_request=10),
        rule("also zero", max_cost_per_day_nanoeur=0, max_tokens_per_request=20),
    ]
    assert all_of(rules).token_limit == 10
    assert all_of([rule()]).token_limit is None
    assert all_of(rules).days[0].tightest is rules[1]
    assert all_of([rule()]).days[0].tightest is None


def test_trace_has_verdict_of_each_policy() -> None:
    rules = [
        rule("fine"),
        rule("blocks", blocked=["gpt-4"]),
        rule("omits", allowed=["gpt-4o"]),
        rule("few", max_tokens_per_request=10),
    ]
    trace = explained(
        rules,
        verdicts=model_verdicts(model("gpt-4"), rules),
        dimensions=Dimensions(),
        values={},
        needed_by=lambda _: NeededTokens(asked=11, sent=11),
    )
    assert [each["verdict"] for each in trace] == [
        "ok",
        "model_blocked",
        "model_not_allowed",
        "token_limit",
    ]
    assert {
        each["verdict"]
        for each in explained(
            rules, verdicts=(), dimensions=Dimensions(), values={}, needed_by=lambda _: None
        )
    } == {"not reached"}


def test_trace_of_many_policies_keeps_deciding_one() -> None:
    rules = [rule(f"fine {number}") for number in range(EXPLAINED_MAX)]
    rules += [rule("blocks", blocked=["gpt-4"]), rule("dear", max_cost_per_day_nanoeur=2)]
    rules += [rule("cheap", max_cost_per_day_nanoeur=1), rule("few", max_tokens_per_request=10)]
    trace = explained(
        rules,
        verdicts=model_verdicts(model("gpt-4"), rules),
        dimensions=Dimensions(),
        values={},
        needed_by=lambda _: NeededTokens(asked=11, sent=11),
    )
    assert len(trace) == EXPLAINED_MAX
    assert [each["name"] for each in trace[:4]] == ["blocks", "few", "cheap", "dear"]
