"""The pages of policies: admins change them, all members can view them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils.timezone import now

from gateway.core.model_entries import ORGANIZATION_WILDCARDS_MAX
from gateway.models import Policy
from gateway.policies.operations import POLICIES_MAX, check_wildcards
from orgs.fields import new_id
from orgs.models import Organization, User
from tests.cast import CLIENTS
from tests.factories import AiRequestLogFactory, PeriodFactory, PolicyFactory

pytestmark = pytest.mark.django_db

POLICIES = "/admin/ai/policies"
CREATE = "/admin/ai/policies/create"
TYPED = {
    "name": "Production Policy",
    "allowed_models": "gpt-4o*\n Claude-3-5-Sonnet ,\r\n\r\ngpt-4o*,CLAUDE-3-5-sonnet",
    "blocked_models": "gpt-4",
    "max_cost_per_day_eur": "50.000000001",
    "max_tokens_per_request": "5000",
    "max_output_tokens": "4000",
    "wait_s": "45",
    "web_searches_per_request": "1",
    "max_cost_per_session_eur": "2.5",
}


def version(organization: Organization) -> int:
    return Organization.objects.get(pk=organization.pk).config_version


def test_admin_creates_policy_as_typed(
    acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    before = version(acme)
    response = client_for(admin_user).post(CREATE, TYPED, follow=True)
    policy = Policy.objects.get(org=acme)
    assert policy.mode == "on"
    assert policy.allowed_models == ["gpt-4o*", "Claude-3-5-Sonnet"]
    assert policy.blocked_models == ["gpt-4"]
    assert policy.max_cost_per_day_nanoeur == 50_000_000_001
    assert policy.max_tokens_per_request == 5000
    assert (policy.max_output_tokens, policy.web_searches_per_request) == (4000, 1)
    assert (policy.max_cost_per_session_nanoeur, policy.wait_s) == (2_500_000_000, 45)
    assert version(acme) > before
    assert (
        "Allows only gpt-4o* and Claude-3-5-Sonnet; blocks gpt-4; at most 50.00 EUR per day; "
        "at most 2.50 EUR per session; at most 5,000 tokens per request; "
        "at most 4,000 output tokens; at most 1 web search per request; a wait of up to 45 s."
    ) in response.content.decode()
    assert "<dt>Web searches</dt><dd>1 per request</dd>" in response.content.decode()


def test_form_has_documented_labels(client_for: CLIENTS, admin_user: User) -> None:
    client = client_for(admin_user)
    assert "Create policy" in client.get(POLICIES).content.decode()
    page = client.get(CREATE).content.decode()
    for label in (
        "Policy name",
        "Allowed models",
        "Blocked models",
        "Max cost per day (EUR)",
        "Max tokens per request",
    ):
        assert f">{label}</label>" in page
    assert ">Save</button>" in page


def test_only_name_is_required(acme: Organization, client_for: CLIENTS, admin_user: User) -> None:
    client_for(admin_user).post(CREATE, {"name": "Nothing yet"})
    policy = Policy.objects.get(org=acme)
    assert (policy.max_cost_per_day_nanoeur, policy.max_tokens_per_request) == (None, None)
    assert policy.allowed_models == policy.blocked_models == []


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("name", ""),
        ("name", "x" * 101),
        ("name", "a\x07b"),
        ("allowed_models", "gpt 4"),
        ("allowed_models", "x" * 201),
        ("blocked_models", "\n".join(f"m{n}" for n in range(201))),
        ("blocked_models", "gpt-4\x00"),
        ("max_cost_per_day_eur", "-0.01"),
        ("max_cost_per_day_eur", "0.0000000001"),
        ("max_cost_per_day_eur", "1e30"),
        ("max_cost_per_day_eur", "NaN"),
        ("max_cost_per_day_eur", "fifty"),
        ("max_tokens_per_request", "0"),
        ("max_tokens_per_request", "9223372036854775808"),
        ("max_tokens_per_request", "1.5"),
        ("max_output_tokens", "0"),
        ("wait_s", "-1"),
        ("wait_s", "3601"),
        ("web_searches_per_request", "-1"),
        ("web_searches_per_request", "1001"),
    ],
)
def test_invalid_value_is_error_at_its_field_and_input_is_kept(
    client_for: CLIENTS, admin_user: User, field: str, text: str
) -> None:
    response = client_for(admin_user).post(CREATE, TYPED | {field: text})
    assert response.status_code == 200
    assert list(response.context["form"].errors) == [field]
    assert f'id="id_{field}_error"' in response.content.decode()
    assert response.context["form"]["blocked_models"].value() is not None
    assert not Policy.objects.exists()


@pytest.mark.parametrize("amount", ["0", "0.000000001", "9223372036.854775807"])
def test_boundary_amounts_are_accepted(client_for: CLIENTS, admin_user: User, amount: str) -> None:
    client = client_for(admin_user)
    client.post(CREATE, TYPED | {"max_cost_per_day_eur": amount})
    policy = Policy.objects.get()
    assert policy.max_cost_per_day_nanoeur == int(amount.replace(".", "").lstrip("0") or 0)
    page = client.get(f"{POLICIES}/{policy.pk}").content.decode()
    assert f'value="{amount if "." in amount else "0.00"}"' in page


def test_name_is_unique_ignoring_case(
    acme: Organization, globex: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    PolicyFactory.create(org=acme, name="production policy")
    other = PolicyFactory.create(org=acme, name="Other")
    PolicyFactory.create(org=globex, name="Elsewhere")
    client = client_for(admin_user)
    for address in (CREATE, f"{POLICIES}/{other.pk}"):
        assert "already exists" in client.post(address, TYPED).content.decode()
    client.post(CREATE, TYPED | {"name": "Elsewhere"})
    assert Policy.objects.filter(org=acme).count() == 3


def test_number_of_policies_is_limited(
    acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    for _ in range(POLICIES_MAX):
        PolicyFactory.create(org=acme)
    assert "can have at most" in client_for(admin_user).post(CREATE, TYPED).content.decode()


def test_wildcards_of_all_policies_together_are_bounded(
    acme: Organization, admin_user: User, client_for: CLIENTS
) -> None:
    wildcards = [f"a{n}*" for n in range(ORGANIZATION_WILDCARDS_MAX)]
    old = PolicyFactory.create(org=acme, allowed_models=[], blocked_models=wildcards[:-1])
    one_more, two_more = TYPED | {"allowed_models": "b*"}, TYPED | {"allowed_models": "b*,c*"}
    sentence = "All lists together can have at most 1000 names with *"
    assert sentence in client_for(admin_user).post(CREATE, two_more).content.decode()
    assert client_for(admin_user).post(CREATE, one_more).status_code == 302
    # A policy from before the limit can be given fewer of them, though they are still too many.
    old.blocked_models = [*wildcards, "d*", "e*"]
    old.save()
    check_wildcards(acme, [], wildcards, instead_of=old.pk)


def test_unknown_models_are_warning(
    acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    typed = {"name": "P", "blocked_models": "gpt-4\ngpt-44\nclaude-3-5-sonnet-20240620\nclod-*"}
    page = client_for(admin_user).post(CREATE, typed, follow=True).content.decode()
    assert "Unknown model: gpt-44, clod-*." in page
    assert Policy.objects.filter(org=acme).exists()


def test_admin_edits_and_removes_every_limit(
    acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    policy = PolicyFactory.create(org=acme, allowed_models=["gpt-4o"], max_tokens_per_request=7)
    client = client_for(admin_user)
    assert "gpt-4o</textarea>" in client.get(f"{POLICIES}/{policy.pk}").content.decode()
    client.post(f"{POLICIES}/{policy.pk}", TYPED)
    policy.refresh_from_db()
    assert (policy.name, policy.max_tokens_per_request) == ("Production Policy", 5000)
    client.post(f"{POLICIES}/{policy.pk}", {"name": "Bare"})
    policy.refresh_from_db()
    assert (policy.allowed_models, policy.max_cost_per_day_nanoeur) == ([], None)
    assert (policy.max_tokens_per_request, policy.max_output_tokens) == (None, None)
    assert policy.web_searches_per_request is None
    assert policy.max_cost_per_session_nanoeur is None


def test_button_sets_its_mode(acme: Organization, client_for: CLIENTS, admin_user: User) -> None:
    policy = PolicyFactory.create(org=acme)
    client = client_for(admin_user)
    for mode in ("off", "off", "watch", "on"):
        page = client.post(f"{POLICIES}/{policy.pk}/mode", {"mode": mode}, follow=True)
        policy.refresh_from_db()
        assert policy.mode == mode
        pressed = f'name="mode" value="{mode}" aria-pressed="true"'
        assert page.content.decode().count('aria-pressed="true"') == 1
        assert pressed in page.content.decode()
    for unknown in ({"mode": "maybe"}, {}):
        assert client.post(f"{POLICIES}/{policy.pk}/mode", unknown).status_code == 404


def test_deleting_asks_first(acme: Organization, client_for: CLIENTS, admin_user: User) -> None:
    policy = PolicyFactory.create(org=acme, name="Old")
    client = client_for(admin_user)
    assert "Delete “Old”?" in client.get(f"{POLICIES}/{policy.pk}/delete").content.decode()
    assert Policy.objects.filter(pk=policy.pk).exists()
    before = version(acme)
    client.post(f"{POLICIES}/{policy.pk}/delete")
    assert not Policy.objects.filter(pk=policy.pk).exists()
    assert version(acme) > before


def test_members_and_auditors_can_only_view(
    acme: Organization, client_for: CLIENTS, member_user: User, auditor_user: User
) -> None:
    policy = PolicyFactory.create(org=acme, name="Kept")
    for user in (member_user, auditor_user):
        client = client_for(user)
        page = client.get(POLICIES).content.decode()
        assert "Kept" in page
        assert "Create policy" not in page
        for address in (CREATE, f"{POLICIES}/{policy.pk}", f"{POLICIES}/{policy.pk}/delete"):
            assert client.get(address).status_code == 403
            assert client.post(address, TYPED).status_code == 403
        toggled = client.post(f"{POLICIES}/{policy.pk}/mode", {"mode": "off"})
        assert toggled.status_code == 403
    assert Policy.objects.get().mode == "on"


def test_foreign_policy_is_404(globex: Organization, client_for: CLIENTS, admin_user: User) -> None:
    foreign = PolicyFactory.create(org=globex, name="Theirs")
    client = client_for(admin_user)
    assert "Theirs" not in client.get(POLICIES).content.decode()
    for policy_id in (foreign.pk, new_id(), "x"):
        for address in (f"{POLICIES}/{policy_id}", f"{POLICIES}/{policy_id}/delete"):
            assert client.get(address).status_code == 404
            assert client.post(address, TYPED).status_code == 404
        assert client.post(f"{POLICIES}/{policy_id}/mode").status_code == 404
    assert Policy.objects.filter(pk=foreign.pk, mode="on").exists()


def test_changes_require_post_and_csrf_token(acme: Organization, admin_user: User) -> None:
    policy = PolicyFactory.create(org=acme)
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(CREATE, TYPED).status_code == 403
    assert client.get(f"{POLICIES}/{policy.pk}/mode").status_code == 405


# --- what a policy does and would have done ------------------------------------------------------

EFFECT = "/admin/ai/policies/effect"


def test_unsaved_policy_shows_its_effect(
    acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    row = AiRequestLogFactory.create(org=acme, user_id=str(admin_user.pk), app_id="search")
    client = client_for(admin_user)
    typed = {"name": "", "blocked_models": "gpt-4o-mini, no-such", "days": "7"}
    response = client.post(EFFECT, typed)
    page = response.content.decode()
    assert "Blocks gpt-4o-mini and no-such." in page
    assert "Unknown model: no-such." in page
    assert "blocked 1 of the 1 requests of the last 7 days, from 1 person and 1 app" in page
    assert admin_user.email in page
    assert f'href="/admin/ai/requests/{row.pk}"' in page
    assert not Policy.objects.exists()
    assert (
        "Fix the marked fields"
        in client.post(EFFECT, {"max_tokens_per_request": "x"}).content.decode()
    )


def test_only_admins_can_backtest(
    client_for: CLIENTS, member_user: User, auditor_user: User
) -> None:
    for user in (member_user, auditor_user):
        assert client_for(user).post(EFFECT, TYPED).status_code == 403


def test_effect_button_works_without_scripts_and_saves_nothing(
    acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    AiRequestLogFactory.create(org=acme)
    policy = PolicyFactory.create(org=acme, name="P")
    client = client_for(admin_user)
    first = client.get(f"{POLICIES}/{policy.pk}").content.decode()
    assert "Show what it would have done" in first
    assert "requests of the last" not in first
    page = client.post(f"{POLICIES}/{policy.pk}", TYPED | {"effect": "show"}).content.decode()
    assert "requests of the last 30 days" in page
    assert 'value="Production Policy"' in page
    policy.refresh_from_db()
    assert policy.name == "P"


def test_list_shows_spend_and_blocked_requests_of_each_policy(
    acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    first = PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=1_000)
    second = PolicyFactory.create(org=acme, blocked_models=["gpt-4"])
    moment = now()
    PeriodFactory.create(
        org=acme,
        settled_nanoeur=250,
        held_nanoeur=900,
        starts_at=moment - timedelta(minutes=1),
        ends_at=moment + timedelta(hours=1),
    )
    verdicts = [
        {"id": str(first.pk), "verdict": "token_limit"},  # too, but blocked comes first
        {"id": str(second.pk), "verdict": "model_blocked"},
    ]
    blocked = {"org": acme, "status": "blocked", "code": "model_blocked"}
    AiRequestLogFactory.create(**blocked, decision={"policies": verdicts})
    AiRequestLogFactory.create(**blocked, decision={})
    yesterday = moment - timedelta(days=1, hours=1)
    AiRequestLogFactory.create(**blocked, decision={"policies": verdicts}, occurred_at=yesterday)
    lines = client_for(member_user).get(POLICIES).context["lines"]
    shown = [(line.used_percent, line.held_percent, line.refused_today) for line in lines]
    assert shown == [("25.00", "75.00", 0), (None, None, 1)]
