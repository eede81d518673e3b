"""Policies name calls by keys, people, dimensions, providers and channels: form and commands."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.management import CommandError
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from costs.models import Period
from gateway.models import Policy
from gateway.policies.applies_to import NAMED_MAX
from gateway.policies.names import names_in
from gateway.policies.views import CHIPS_SHOWN
from orgs.keys import operations as keys
from orgs.models import ApiKey, Organization, User
from tests.cast import CLIENTS
from tests.commands import output_of
from tests.factories import (
    AiRequestLogFactory,
    ApiKeyFactory,
    DailyCostFactory,
    PolicyFactory,
    UserFactory,
)

pytestmark = pytest.mark.django_db

POLICIES = "/admin/ai/policies"
CREATE = "/admin/ai/policies/create"
policies = partial(output_of, "policies")


@pytest.fixture
def ci(acme: Organization) -> ApiKey:
    key, _ = keys.create_key(org=acme, name="CI")
    return key


def errors_of(response: Any) -> str:
    return str(response.context["form"].errors.as_text())


def test_everything_that_form_names_is_saved_shown_and_kept(
    acme: Organization, ci: ApiKey, client_for: CLIENTS, admin_user: User
) -> None:
    client = client_for(admin_user)
    typed = {
        **{"name": "Research", "mode": "watch", "keys": "ci", "users": admin_user.email},
        **{"teams": "Straße\n研究開発\nSTRASSE", "projects": "p, with comma", "apps": "a"},
        **{"clients": "c", "task_types": "review", "providers": ["openai", "mistral"]},
        **{"channels": ["api", "chat.completions"], "max_cost_per_day_eur": "5"},
        **{"requests_per_minute": "60", "tokens_per_minute": "100000"},
        **{"concurrent_requests": "4", "hold": "slices", "wait_s": "60"},
    }
    page = client.post(CREATE, typed, follow=True).content.decode()
    made = Policy.objects.get(org=acme)
    named = {
        "key_id": [str(ci.pk)],
        "user_id": sorted([str(admin_user.pk), admin_user.email]),
        "team_id": ["Straße", "研究開発"],
        "project_id": ["p, with comma"],
        "app_id": ["a"],
        "client_id": ["c"],
        "task_type": ["review"],
        "provider": ["mistral", "openai"],
        "channel": ["api", "chat.completions"],
    }
    assert {name: sorted(values) for name, values in made.applies_to.items()} == named
    taken = (made.requests_per_minute, made.tokens_per_minute, made.concurrent_requests)
    assert (*taken, made.hold, made.mode) == (60, 100_000, 4, "slices", "watch")
    assert '<span class="chip">key <bdi>CI</bdi></span>' in page
    assert f'<span class="chip">user <bdi>{admin_user.email}</bdi></span>' in page
    assert (
        f"Applies to key CI, user {admin_user.email}, team Straße or 研究開発, "
        "project p, with comma, app a, client c, task type review, provider " in page
    )
    assert (
        "at most 60 requests per minute, 100,000 tokens per minute and 4 requests at once" in page
    )
    # What the page shows of it, a browser sends again.
    form = client.get(f"{POLICIES}/{made.pk}").context["form"]
    shown = {name: form[name].value() for name in form.fields}
    again = {name: value for name, value in shown.items() if value is not None}
    client.post(f"{POLICIES}/{made.pk}", {**again, "name": "Renamed"})
    kept = Policy.objects.get(org=acme)
    assert kept.name == "Renamed"
    for column in ("applies_to", "mode", "hold", "wait_s", "requests_per_minute", "revision"):
        assert getattr(kept, column) == getattr(made, column), column
    assert (kept.tokens_per_minute, kept.concurrent_requests) == (100_000, 4)


def test_edit_page_has_keys_and_people_by_name(
    acme: Organization, ci: ApiKey, client_for: CLIENTS, admin_user: User
) -> None:
    named = {"key_id": [str(ci.pk)], "user_id": [str(admin_user.pk)]}
    policy = PolicyFactory.create(org=acme, applies_to=named)
    page = client_for(admin_user).get(f"{POLICIES}/{policy.pk}").content.decode()
    assert "CI</textarea>" in page
    assert f"{admin_user.email}</textarea>" in page
    assert str(ci.pk) not in page


@pytest.mark.parametrize("text", ["CI", " ci ", "{public}", "pulse_{public}_…abcd", "{id}"])
def test_key_is_named_by_first_of_its_rotations(acme: Organization, ci: ApiKey, text: str) -> None:
    second, _ = keys.rotate_key(key=ci)
    third, _ = keys.rotate_key(key=second)
    typed = text.format(public=third.public, id=third.pk)
    policies("create", "acme", "--name", "P", "--keys", typed)
    assert Policy.objects.get(org=acme).applies_to == {"key_id": [str(ci.pk)]}


def test_key_of_other_organization_cannot_be_named(
    acme: Organization, globex: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    theirs = ApiKeyFactory.create(org=globex, name="Theirs")
    client = client_for(admin_user)
    for text in ("Theirs", theirs.public, f"pulse_{theirs.public}", str(theirs.pk)):
        response = client.post(CREATE, {"name": "P", "keys": text})
        assert f"Key not found: {text}." in errors_of(response)
        with pytest.raises(CommandError, match="Key not found"):
            policies("create", "acme", "--name", "P", "--keys", text)
        effect = client.post(f"{POLICIES}/effect", {"name": "P", "keys": text}).content.decode()
        assert "Fix the marked fields" in effect
    assert not Policy.objects.exists()
    # Nor does the name of one that is named all the same come out.
    named = {"key_id": [str(theirs.pk)]}
    PolicyFactory.create(org=acme, applies_to=named)
    for page in (POLICIES, f"{POLICIES}.json", f"{POLICIES}.csv"):
        response = client.get(page)
        text = b"".join(response).decode()
        assert "Theirs" not in text
        assert theirs.public not in text
    assert "Theirs" not in policies("list", "acme", "--format", "json")


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("keys", "nothing", "Key not found: nothing."),
        ("providers", "openai,acme", "Must be among"),
        ("channels", "api,telex", "Must be among"),
        ("users", "unknown@acme.example", "No user of this organization has the email address"),
        ("users", "x" * 129, "at most 128 characters"),
        ("teams", "\n".join(map(str, range(NAMED_MAX + 1))), f"at most {NAMED_MAX} values"),
        ("keys", "\n".join(map(str, range(NAMED_MAX + 1))), f"at most {NAMED_MAX} values"),
        ("apps", "a\x07b", "printable"),
        ("apps", "x" * 129, "at most 128 characters"),
        ("requests_per_minute", "0", "greater than or equal to 1"),
        ("requests_per_minute", str(2**31), "less than or equal to"),
        ("tokens_per_minute", str(2**63), "less than or equal to"),
        ("concurrent_requests", "-1", "greater than or equal to 1"),
        ("hold", "halves", "not one of the available choices"),
    ],
)
def test_invalid_value_is_error_at_its_field(
    client_for: CLIENTS, admin_user: User, field: str, value: str, sentence: str
) -> None:
    typed = {"name": "P", field: value.split(",") if field in ("providers", "channels") else value}
    response = client_for(admin_user).post(CREATE, typed)
    assert sentence in str(response.context["form"].errors[field])
    assert not Policy.objects.exists()


def test_revoked_key_is_marked_and_kept(
    acme: Organization, ci: ApiKey, client_for: CLIENTS, admin_user: User
) -> None:
    client = client_for(admin_user)
    client.post(CREATE, {"name": "P", "keys": "CI", "requests_per_minute": "5"})
    policy = Policy.objects.get()
    assert "any more" not in client.get(POLICIES).content.decode()
    keys.revoke_key(key=ci)
    other, _ = keys.create_key(org=acme, name="CI")
    page = client.get(POLICIES).content.decode()
    assert "key <bdi>CI</bdi> (revoked)" in page
    assert "It applies to no requests any more" in page
    # A new key of the name is another one.
    assert f"pulse_{ci.public}</textarea>" in client.get(f"{POLICIES}/{policy.pk}").content.decode()
    policies("update", "acme", "P", "--rpm", "6")
    assert Policy.objects.get().applies_to == {"key_id": [str(ci.pk)]}
    policies("update", "acme", "P", "--keys", f"CI,{ci.public}")
    assert Policy.objects.get().applies_to == {"key_id": [str(other.pk), str(ci.pk)]}
    assert "any more" not in client.get(POLICIES).content.decode()


def test_list_shows_some_of_many_values(
    acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    named = {"team_id": [f"t{n}" for n in range(CHIPS_SHOWN + 1)], "app_id": ["a"]}
    PolicyFactory.create(org=acme, applies_to=named)
    page = client_for(admin_user).get(POLICIES).content.decode()
    assert page.count('class="chip"') == CHIPS_SHOWN
    assert "and 2 more" in page


def test_expired_key_is_marked(acme: Organization) -> None:
    key = ApiKeyFactory.create(org=acme, expires_at=now() - timedelta(days=1))
    named = {"key_id": [str(key.pk), "no id"]}
    names = names_in(acme.pk, [named])
    assert [(chip.value, chip.over) for chip in names.chips(named)] == [
        (key.name, "expired"),
        ("no id", "deleted"),
    ]
    assert names.has_no_valid_key(named)


def test_user_may_be_any_id_that_callers_send(acme: Organization) -> None:
    stranger = UserFactory.create(email="stranger@globex.example")
    policies("create", "acme", "--name", "P", "--users", f"robot-7,{stranger.pk}")
    assert Policy.objects.get().applies_to == {"user_id": ["robot-7", str(stranger.pk)]}
    assert "stranger@" not in policies("list", "acme", "--format", "json")


def test_commands_have_all_of_it(acme: Organization, ci: ApiKey, admin_user: User) -> None:
    options = (
        *("--keys", "CI", "--users", admin_user.email, "--teams", "t,u", "--projects", "p"),
        *("--apps", "a", "--clients", "c", "--task-types", "review", "--providers", "openai"),
        *("--channels", "api,messages", "--rpm", "60", "--tpm", "1000", "--concurrent", "2"),
        *("--hold", "slices", "--mode", "watch"),
    )
    assert "it is watched" in policies("create", "acme", "--name", "P", *options)
    [row] = json.loads(policies("list", "acme", "--format", "json"))
    assert row["applies_to"] == {
        **{"key_id": ["CI"], "user_id": [admin_user.email], "team_id": ["t", "u"]},
        **{"project_id": ["p"], "app_id": ["a"], "client_id": ["c"], "task_type": ["review"]},
        **{"provider": ["openai"], "channel": ["api", "messages"]},
    }
    assert (row["requests_per_minute"], row["tokens_per_minute"]) == (60, 1000)
    assert (row["concurrent_requests"], row["hold"], row["mode"]) == (2, "slices", "watch")
    policies("update", "acme", "P", "--no-keys", "--no-users", "--no-rpm", "--hold", "whole")
    [row] = json.loads(policies("list", "acme", "--format", "json"))
    assert "key_id" not in row["applies_to"]
    assert row["applies_to"]["team_id"] == ["t", "u"]
    assert (row["requests_per_minute"], row["tokens_per_minute"]) == (None, 1000)
    assert row["hold"] == "whole"
    assert "team t, u" in policies("list", "acme")


def test_policy_shows_its_own_day(
    acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    today = now()
    limit = {"max_cost_per_day_nanoeur": 10**10}
    team = PolicyFactory.create(org=acme, applies_to={"team_id": ["t"]}, **limit)
    PolicyFactory.create(org=acme, name="All", **limit)
    for scope, charged in ((team.cost_scope, 2 * 10**9), ("org", 7 * 10**9)):
        Period.objects.create(
            org=acme,
            scope=scope,
            starts_on=today.date(),
            starts_at=today - timedelta(hours=1),
            ends_at=today + timedelta(hours=1),
            settled_nanoeur=charged,
            held_nanoeur=10**9,
        )
    client = client_for(admin_user)
    lines = {line.policy.name: line for line in client.get(POLICIES).context["lines"]}
    assert lines[team.name].spend.charged_nanoeur == 2 * 10**9
    assert (lines[team.name].left_nanoeur, lines[team.name].used_percent) == (7 * 10**9, "20.00")
    assert (lines["All"].spend.charged_nanoeur, lines["All"].left_nanoeur) == (7 * 10**9, 2 * 10**9)
    rows = json.loads(b"".join(client.get(f"{POLICIES}.json")))
    assert {row["name"]: row["chargedTodayEur"] for row in rows} == {
        team.name: "2.00",
        "All": "7.00",
    }


@pytest.fixture
def operator(admin_user: User) -> Client:
    admin_user.is_staff = admin_user.is_superuser = True
    admin_user.save()
    client = Client()
    client.force_login(admin_user)
    return client


def test_operator_names_calls_in_django_admin_by_same_rules(
    acme: Organization, globex: Organization, ci: ApiKey, operator: Client
) -> None:
    ApiKeyFactory.create(org=globex, name="Theirs")
    address = reverse("admin:gateway_policy_add")
    typed: dict[str, Any] = {
        "org": str(acme.pk),
        "name": "P",
        "mode": "on",
        "hold": "whole",
        "wait_s": "20",
    }
    refused = operator.post(address, {**typed, "keys": "Theirs"}).content.decode()
    assert "Key not found: Theirs." in refused
    DailyCostFactory.create(org=acme, day=now().date(), team_id="t", amount_nanoeur=5)
    typed |= {"keys": "CI", "channels": ["api"], "max_cost_per_day_nanoeur": "10"}
    operator.post(address, typed)
    made = Policy.objects.get()
    assert made.applies_to == {"key_id": [str(ci.pk)], "channel": ["api"]}
    assert Period.objects.filter(scope=made.cost_scope).exists()
    edit = reverse("admin:gateway_policy_change", args=[made.pk])
    assert "CI</textarea>" in operator.get(edit).content.decode()
    operator.post(edit, {**typed, "keys": "", "channels": [], "teams": "t"})
    changed = Policy.objects.get()
    assert (changed.applies_to, changed.revision) == ({"team_id": ["t"]}, made.revision + 1)
    assert Period.objects.filter(scope=changed.cost_scope).exists()


def test_list_counts_what_watched_policies_would_have_refused(
    acme: Organization, globex: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    trial = PolicyFactory.create(org=acme, name="Trial", mode="watch")
    quiet = PolicyFactory.create(org=acme, name="Quiet", mode="watch")

    def entry(policy: Policy, verdict: str, mode: str | None = "watch") -> dict[str, Any]:
        return {"id": str(policy.pk), "verdict": verdict, **({"mode": mode} if mode else {})}

    for verdicts, more in (
        ([entry(trial, "model_blocked"), entry(quiet, "ok")], {}),
        ([entry(trial, "rate_limited"), entry(quiet, "not reached")], {}),
        ([entry(quiet, "rate_limited", mode=None)], {}),
        ([entry(trial, "model_blocked")], {"occurred_at": now() - timedelta(days=3)}),
        ([entry(trial, "model_blocked")], {"org": globex}),
        ([entry(quiet, "token_limit", mode=None)], {"refused_by_watched": None}),
    ):
        AiRequestLogFactory.create(
            **{"org": acme, "refused_by_watched": True, "decision": {"policies": verdicts}} | more
        )
    client = client_for(admin_user)
    lines = {line.policy.name: line for line in client.get(POLICIES).context["lines"]}
    assert (lines["Trial"].watched_today, lines["Quiet"].watched_today) == (2, 0)
    assert lines["Trial"].refused_today == 0
    page = client.get(POLICIES).content.decode()
    assert 'href="/admin/ai?watched=yes&amp;period=today">2 today</a>' in page
    assert len(client.get("/admin/ai?watched=yes").context["lines"]) == 4
    assert len(client.get("/admin/ai?watched=yes&period=today").context["lines"]) == 3
    assert len(client.get("/admin/ai").context["lines"]) == 5
    rows = json.loads(b"".join(client.get("/admin/ai/requests.json?watched=yes")))
    assert len(rows) == 4
