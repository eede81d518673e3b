"""Which policies apply to a call, and what follows from them together."""

from __future__ import annotations

from typing import Any

import pytest

from costs.core.admission import ORG_SCOPE
from gateway.core.calls import Dimensions
from gateway.guards.policies import (
    NAMED_BY,
    NeededTokens,
    Rule,
    applies_to,
    explained,
    is_refused_by_watched,
    refusal_for_model,
    refusal_for_searches,
    refusal_for_tokens,
)
from gateway.guards.rule_sets import RULE_SETS_MAX, RuleIndex

EUR = 10**9
TWO = NeededTokens(asked=2, sent=2)


def rule(name: str, named: dict[str, list[str]] | None = None, **limits: Any) -> Rule:
    scope = f"policy:{name}" if named else ORG_SCOPE
    return Rule(id=name, name=name, applies_to=applies_to(named or {}), cost_scope=scope, **limits)


def names_of(rules: list[Rule], **values: str) -> list[str]:
    return [each.name for each in RuleIndex(rules).of(values).rules]


@pytest.mark.parametrize("name", NAMED_BY)
def test_policy_applies_to_any_of_named_values_in_any_spelling(name: str) -> None:
    rules = [rule("named", {name: ["Straße", "b"]}), rule("all")]
    assert names_of(rules, **{name: "STRASSE"}) == ["named", "all"]
    assert names_of(rules, **{name: " B "}) == ["named", "all"]
    assert names_of(rules, **{name: "c"}) == ["all"]
    assert names_of(rules) == ["all"]


def test_policy_that_names_by_several_applies_where_all_match() -> None:
    rules = [rule("both", {"team_id": ["a"], "app_id": ["x", "y"]})]
    assert names_of(rules, team_id="a", app_id="y") == ["both"]
    assert names_of(rules, team_id="a") == []
    assert names_of(rules, team_id="b", app_id="x") == []


def test_limits_are_those_of_policies_that_apply() -> None:
    index = RuleIndex(
        [
            rule("all", max_tokens_per_request=100, max_cost_per_day_nanoeur=9 * EUR),
            rule("team", {"team_id": ["a"]}, max_tokens_per_request=10, max_output_tokens=5),
            rule("app", {"app_id": ["x"]}, max_cost_per_day_nanoeur=EUR),
        ]
    )
    of_none, of_team = index.of({}), index.of({"team_id": "a"})
    assert (of_none.token_limit, of_none.output_limit) == (100, None)
    assert (of_team.token_limit, of_team.output_limit) == (10, 5)
    days = index.of({"team_id": "a", "app_id": "x"}).days
    assert [(day.scope, day.limit.limit_nanoeur) for day in days] == [
        (ORG_SCOPE, 9 * EUR),
        ("policy:app", EUR),
    ]


def test_watched_policy_limits_nothing_and_counts() -> None:
    limits: dict[str, Any] = {"max_tokens_per_request": 1, "max_output_tokens": 1}
    more: dict[str, Any] = {"max_cost_per_session_nanoeur": 1, "tokens_per_minute": 1}
    watched = [
        rule("w", is_watched=True, max_cost_per_day_nanoeur=0, **limits, **more),
        rule("t", {"team_id": ["a"]}, is_watched=True, max_cost_per_day_nanoeur=0),
    ]
    rules = RuleIndex(watched).of({"team_id": "a"})
    assert not rules.is_limited
    assert (rules.token_limit, rules.output_limit, rules.of_sessions) == (None, None, ())
    assert [(day.scope, day.limit.limit_nanoeur) for day in rules.days] == [
        (ORG_SCOPE, None),
        ("policy:t", None),
    ]


def test_tokens_of_request_are_those_asked_for_and_of_minute_those_sent() -> None:
    per_request, per_minute = rule("r", max_tokens_per_request=10), rule("m", tokens_per_minute=10)
    lowered, fits = NeededTokens(asked=11, sent=10), NeededTokens(asked=10, sent=10)
    refusal = refusal_for_tokens(lowered, rules=[per_request, per_minute])
    assert refusal is not None
    assert refusal.message == 'Request needs up to 11 tokens; policy "r" allows 10 per request'
    assert refusal_for_tokens(lowered, rules=[per_minute]) is None
    assert refusal_for_tokens(fits, rules=[per_request, per_minute]) is None


def test_watched_policy_refuses_nothing() -> None:
    watched = [rule("w", is_watched=True, max_tokens_per_request=1, web_searches_per_request=0)]
    assert refusal_for_model(("model_blocked",), named="m", rules=watched) is None
    assert refusal_for_tokens(TWO, rules=watched) is None
    assert refusal_for_searches(1, rules=watched) is None
    entries = explained(
        watched,
        verdicts=("ok",),
        dimensions=Dimensions(),
        values={},
        needed_by=lambda _: TWO,
    )
    assert entries[0]["verdict"] == "token_limit"
    assert is_refused_by_watched(entries)
    assert is_refused_by_watched([{**entries[0], "verdict": "ok"}]) is False
    assert is_refused_by_watched([{"id": "1", "verdict": "token_limit"}]) is None


def test_trace_says_by_which_values_policy_applies() -> None:
    rules = [rule("team", {"team_id": ["a", "b"], "channel": ["api"]}), rule("all")]
    team, all_calls = explained(
        rules,
        verdicts=("ok", "ok"),
        dimensions=Dimensions(),
        values={"team_id": "B", "channel": "api", "app_id": "x"},
        needed_by=lambda _: None,
    )
    assert team["applies_to"] == {"team_id": "B", "channel": "api"}
    assert "applies_to" not in all_calls


def test_tokens_are_refused_by_policy_with_smallest_limit() -> None:
    rules = [rule("a", max_tokens_per_request=20), rule("b", max_tokens_per_request=10)]
    refusal = refusal_for_tokens(NeededTokens(asked=30, sent=30), rules=rules)
    assert refusal is not None
    assert refusal.message == 'Request needs up to 30 tokens; policy "b" allows 10 per request'


def test_verdicts_are_those_of_policies_that_apply() -> None:
    index = RuleIndex([rule("a", {"team_id": ["a"]}), rule("b"), rule("c", {"team_id": ["c"]})])
    assert index.of({"team_id": "c"}).of_all(("1", "2", "3")) == ("2", "3")


def test_sets_of_policies_are_bounded() -> None:
    index = RuleIndex([rule(str(n), {name: ["x"]}) for n, name in enumerate(NAMED_BY)])
    for bits in range(2 ** len(NAMED_BY)):
        values = {name: "x" for n, name in enumerate(NAMED_BY) if bits >> n & 1}
        assert len(index.of(values).rules) == len(values)
        assert len(index._sets) <= RULE_SETS_MAX
