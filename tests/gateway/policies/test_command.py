"""`manage.py policies`."""

from __future__ import annotations

import json
from functools import partial

import pytest
from django.core.management import CommandError

from gateway.models import Policy
from orgs.models import Organization
from tests.commands import output_of
from tests.factories import PolicyFactory

pytestmark = pytest.mark.django_db

LIMITS = ("--allow", "gpt-4o,claude-*", "--block", "gpt-4", "--max-cost-per-day", "1.5")


policies = partial(output_of, "policies")


def test_created_policy_has_limits(acme: Organization) -> None:
    policies("create", "acme", "--name", "Production", *LIMITS, "--max-tokens", "5000")
    policy = Policy.objects.get(org=acme)
    assert (policy.name, policy.mode) == ("Production", "on")
    assert policy.allowed_models == ["gpt-4o", "claude-*"]
    assert policy.blocked_models == ["gpt-4"]
    assert policy.max_cost_per_day_nanoeur == 1_500_000_000
    assert policy.max_tokens_per_request == 5000


def test_list_prints_json(acme: Organization, globex: Organization) -> None:
    policy = PolicyFactory.create(
        org=acme, name="P", blocked_models=["gpt-4"], max_cost_per_day_nanoeur=1
    )
    PolicyFactory.create(org=globex)
    assert json.loads(policies("list", "acme", "--format", "json")) == [
        {
            "name": "P",
            "mode": "on",
            "applies_to": {},
            "allowed_models": [],
            "blocked_models": ["gpt-4"],
            "max_cost_per_day_eur": "0.000000001",
            "max_cost_per_session_eur": None,
            "max_tokens_per_request": None,
            "max_output_tokens": None,
            "requests_per_minute": None,
            "tokens_per_minute": None,
            "concurrent_requests": None,
            "wait_s": 20,
            "hold": "whole",
            "web_searches_per_request": None,
            "required_dimensions": [],
            "known_values": {},
            "id": str(policy.pk),
        }
    ]
    assert "gpt-4" in policies("list", "acme")


def test_update_changes_only_given_options(acme: Organization) -> None:
    policies("create", "acme", "--name", "P", *LIMITS, "--max-tokens", "5000")
    policies("update", "acme", "p", "--max-output-tokens", "700", "--wait", "0")
    policies("update", "acme", "p", "--web-searches", "0")
    policy = Policy.objects.get()
    assert (policy.max_output_tokens, policy.web_searches_per_request) == (700, 0)
    assert policy.wait_s == 0
    policies("update", "acme", "p", "--max-cost-per-session", "2")
    assert Policy.objects.get().max_cost_per_session_nanoeur == 2 * 10**9
    policies("update", "acme", "p", "--max-tokens", "10", "--rename", "Q", "--disable")
    policy = Policy.objects.get()
    assert (policy.name, policy.mode, policy.max_tokens_per_request) == ("Q", "off", 10)
    assert policy.allowed_models == ["gpt-4o", "claude-*"]
    assert policy.max_cost_per_day_nanoeur == 1_500_000_000
    policies("update", "acme", "Q", "--enable")
    assert Policy.objects.get().mode == "on"
    policies("update", "acme", "Q", "--mode", "watch")
    assert Policy.objects.get().mode == "watch"


@pytest.mark.parametrize(
    ("option", "field", "nothing"),
    [
        ("--no-allow", "allowed_models", []),
        ("--no-block", "blocked_models", []),
        ("--no-max-cost-per-day", "max_cost_per_day_nanoeur", None),
        ("--no-max-tokens", "max_tokens_per_request", None),
        ("--no-web-searches", "web_searches_per_request", None),
    ],
)
def test_each_limit_can_be_removed(
    acme: Organization, option: str, field: str, nothing: object
) -> None:
    policies("create", "acme", "--name", "P", *LIMITS, "--max-tokens", "5000")
    before = Policy.objects.values().get()
    policies("update", "acme", "P", option)
    after = Policy.objects.values().get()
    assert after == before | {field: nothing, "updated_at": after["updated_at"]}


def test_dimensions_are_required_and_known_by_command(acme: Organization) -> None:
    policies("create", "acme", "--name", "P", "--require", "task-type,team", "--known-teams", "a,b")
    policy = Policy.objects.get()
    assert policy.required_dimensions == ["team_id", "task_type"]
    assert policy.known_values == {"team_id": ["a", "b"]}
    shown = policies("list", "acme")
    assert "team_id, task_type" in shown
    assert "team a, b" in shown
    policies("update", "acme", "P", "--no-require", "--known-apps", "web")
    policy.refresh_from_db()
    assert policy.required_dimensions == []
    assert policy.known_values == {"team_id": ["a", "b"], "app_id": ["web"]}
    with pytest.raises(CommandError, match="Must be among user, team, project"):
        policies("update", "acme", "P", "--require", "planet")


def test_delete_removes_policy(acme: Organization) -> None:
    PolicyFactory.create(org=acme, name="P")
    policies("delete", "acme", "P")
    assert not Policy.objects.exists()


def test_unknown_model_is_warning(acme: Organization) -> None:
    printed = policies("create", "acme", "--name", "P", "--block", "gpt-44")
    assert "unknown model: gpt-44" in printed
    assert Policy.objects.get().blocked_models == ["gpt-44"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("list", "unknown"), 'Organization "unknown" does not exist'),
        (("update", "acme", "P"), "At least one change must be given"),
        (("update", "acme", "X", "--enable"), 'acme has no policy "X"'),
        (("delete", "acme", "X"), 'acme has no policy "X"'),
        (("create", "acme", "--name", "p"), "already exists"),
        (("create", "acme", "--name", ""), "Policy name: This field is required."),
        (("create", "acme", "--name", "Q", "--max-tokens", "many"), "Max tokens per request"),
        (("create", "acme", "--name", "Q", "--max-tokens=-1"), "Max tokens per request"),
        (("create", "acme", "--name", "Q", "--max-cost-per-day", "1e-10"), "nine decimal places"),
        (("create", "acme", "--name", "Q", "--allow", "gpt 4"), "is not a valid model name"),
        (("create", "acme", "--name", "Q", "--block", "a*" * 11), "at most 10 wildcards (*)"),
        (
            ("update", "acme", "P", "--max-tokens", "1", "--no-max-tokens"),
            "cannot be used together",
        ),
        (("update", "acme", "P", "--enable", "--disable"), "not allowed with"),
        (("polish",), "invalid choice"),
    ],
)
def test_invalid_input_is_one_line_error(
    acme: Organization, words: tuple[str, ...], sentence: str
) -> None:
    PolicyFactory.create(org=acme, name="P")
    with pytest.raises(CommandError) as refusal:
        policies(*words)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert Policy.objects.count() == 1
