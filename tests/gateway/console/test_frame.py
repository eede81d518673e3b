"""The frame of all pages: URLs, navigation, headers, errors, Django admin."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib import admin
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.urls import reverse
from django.views.defaults import bad_request, server_error

from costs.models import (
    CostEvent,
    ExchangeRate,
    Hold,
    HourCost,
    HourlyPrice,
    Instance,
    Period,
    PriceFactor,
    Rate,
)
from gateway.core.model_entries import ORGANIZATION_WILDCARDS_MAX
from gateway.models import AiRequestLog, ModelAlias, Policy
from orgs.models import Organization, User
from tests.cast import CLIENTS
from tests.factories import (
    AiRequestLogFactory,
    CostEventFactory,
    PolicyFactory,
    RateFactory,
    UserFactory,
)

PAGES = {
    "requests": "/admin/ai",
    "policies": "/admin/ai/policies",
    "policy-create": "/admin/ai/policies/create",
    "aliases": "/admin/ai/aliases",
    "alias-create": "/admin/ai/aliases/create",
    "keys": "/admin/ai/keys",
    "playground": "/admin/ai/playground",
    "costs": "/costs",
}


@pytest.mark.parametrize(("name", "path"), PAGES.items())
@pytest.mark.django_db
def test_every_page_has_url_and_navigation(
    client_for: CLIENTS, admin_user: User, name: str, path: str
) -> None:
    assert reverse(name) == path
    response = client_for(admin_user).get(path)
    assert response.status_code == 200
    page = response.content.decode()
    for label in ("Requests", "Policies", "Aliases", "Keys", "Playground", "Costs", "Settings"):
        assert re.search(rf"<a [^>]*>{label}</a>", page)
    assert "Skip to content" in page
    assert ">Sign out</button>" in page


@pytest.mark.parametrize(
    ("path", "section"),
    {
        "/admin/ai": "Requests",
        "/costs": "Costs",
        "/costs/budgets/create": "Costs",
        "/costs/alerts/channels": "Costs",
        "/admin/ai/policies/create": "Policies",
        "/admin/ai/aliases": "Aliases",
        "/admin/ai/keys/create": "Keys",
        "/admin/ai/playground": "Playground",
        "/settings/organization": "Settings",
    }.items(),
)
@pytest.mark.django_db
def test_navigation_marks_current_section(
    client_for: CLIENTS, admin_user: User, path: str, section: str
) -> None:
    page = client_for(admin_user).get(path).content.decode()
    navigation = page[page.index('aria-label="Main"') : page.index("</nav>")]
    assert re.findall(r'<a [^>]*aria-current="page">(\w+)</a>', navigation) == [section]


@pytest.mark.parametrize("path", PAGES.values())
@pytest.mark.django_db
def test_pages_obey_their_own_content_security_policy(
    client_for: CLIENTS, admin_user: User, path: str
) -> None:
    response = client_for(admin_user).get(path)
    policy = response.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    page = response.content.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


@pytest.mark.parametrize("path", PAGES.values())
@pytest.mark.django_db
def test_anonymous_is_redirected_to_sign_in_and_back(client: Client, path: str) -> None:
    assert client.get(path).headers["Location"] == f"/login?next={path}"


@pytest.mark.parametrize("path", ["/admin/ai", "/admin/ai/policies", "/admin/ai/playground"])
@pytest.mark.django_db
def test_trailing_slash_redirects(client_for: CLIENTS, admin_user: User, path: str) -> None:
    response = client_for(admin_user).get(f"{path}/?status=ok")
    assert response.headers["Location"] == f"{path}?status=ok"


@pytest.mark.parametrize("path", ["/admin/ai/nothing", "/admin/ai/nothing/", "/admin/ai//x//"])
@pytest.mark.django_db
def test_unknown_path_is_404_not_admin_sign_in(
    client_for: CLIENTS, client: Client, admin_user: User, path: str
) -> None:
    for browser in (client, client_for(admin_user)):
        response = browser.get(path)
        assert response.status_code == 404
        assert "Page not found" in response.content.decode()


@pytest.mark.django_db
def test_user_without_organization_gets_instructions(client_for: CLIENTS) -> None:
    response = client_for(UserFactory.create()).get("/admin/ai")
    assert response.status_code == 403
    assert "Ask an admin to add you" in response.content.decode()


def test_error_pages_need_no_database(rf: RequestFactory) -> None:
    # No django_db mark: a query would fail.
    assert "Server error" in server_error(rf.get("/")).content.decode()
    assert "too large or malformed" in bad_request(rf.get("/"), Exception()).content.decode()
    assert "Form expired" in render_to_string("403_csrf.html")


def test_error_pages_link_existing_files() -> None:
    page = render_to_string("500.html")
    static = Path(settings.STATICFILES_DIRS[0])
    for address in re.findall(r'href="/static/([^"]+)"', page):
        assert (static / address).is_file()


# --- Django admin -------------------------------------------------------------------------------

READ_ONLY = (Period, Hold, CostEvent, HourCost, Instance, AiRequestLog)
DATED = (Rate, PriceFactor, HourlyPrice, ExchangeRate)


@pytest.mark.parametrize("model", [*READ_ONLY, *DATED, Policy, ModelAlias])
def test_operators_see_every_table(operator: Client, model: type) -> None:
    name = f"{model._meta.app_label}_{model._meta.model_name}"  # type: ignore[attr-defined]
    assert operator.get(reverse(f"admin:{name}_changelist")).status_code == 200


@pytest.mark.parametrize("model", READ_ONLY)
def test_history_is_read_only(operator: Client, model: type) -> None:
    name = f"{model._meta.app_label}_{model._meta.model_name}"  # type: ignore[attr-defined]
    assert operator.get(reverse(f"admin:{name}_add")).status_code == 403
    registered = admin.site._registry[model]
    request = RequestFactory().get("/")
    assert not registered.has_change_permission(request)
    assert not registered.has_delete_permission(request)


def test_audit_row_is_read_only(operator: Client, acme: Organization) -> None:
    for row in (AiRequestLogFactory.create(org=acme), CostEventFactory.create(org=acme)):
        name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
        address = reverse(name, args=[row.pk])
        assert operator.get(address).status_code == 200
        assert operator.post(address, {"amount_nanoeur": "1"}).status_code == 403


def test_prices_are_added_and_never_edited(operator: Client) -> None:
    rate = RateFactory.create()
    typed = {
        "provider": "openai",
        "model": "new",
        "service_tier": "standard",
        "above_input_tokens": "0",
        "starts_at_0": "2026-01-01",
        "starts_at_1": "00:00:00",
        "input_usd_per_mtok": "1",
        "output_usd_per_mtok": "2",
        "source": "a letter",
    }
    assert operator.post(reverse("admin:costs_rate_add"), typed).status_code == 302
    assert Rate.objects.filter(model="new").exists()
    address = reverse("admin:costs_rate_change", args=[rate.pk])
    assert operator.post(address, typed).status_code == 403
    assert operator.post(reverse("admin:costs_rate_delete", args=[rate.pk])).status_code == 403


def test_operators_edit_policies_with_same_checks(operator: Client, acme: Organization) -> None:
    address = reverse("admin:gateway_policy_add")
    typed = {
        **{"org": str(acme.pk), "name": "P", "mode": "on", "hold": "whole", "wait_s": "20"},
        "allowed_models": "gpt-4o, gpt-4",
    }
    assert "is not a valid model name" in (
        operator.post(address, typed | {"blocked_models": "gpt 4"}).content.decode()
    )
    assert operator.post(address, typed).status_code == 302
    policy = Policy.objects.get()
    assert policy.allowed_models == ["gpt-4o", "gpt-4"]
    change = reverse("admin:gateway_policy_change", args=[policy.pk])
    assert "gpt-4o\ngpt-4</textarea>" in operator.get(change).content.decode()
    wildcards = [f"a{n}*" for n in range(ORGANIZATION_WILDCARDS_MAX)]
    PolicyFactory.create(org=acme, blocked_models=wildcards)
    one_more = operator.post(change, typed | {"blocked_models": "b*"}).content.decode()
    assert "All lists together can have at most 1000 names with *" in one_more


def test_operators_edit_aliases_with_same_checks(operator: Client, acme: Organization) -> None:
    address = reverse("admin:gateway_modelalias_add")
    typed = {"org": str(acme.pk), "name": "fast", "enabled": "on", "retries": "1"}
    refused = operator.post(address, typed | {"models": "no-such"}).content.decode()
    assert "Unknown model:" in refused
    assert operator.post(address, typed | {"models": "gpt-4o, gpt-4"}).status_code == 302
    alias = ModelAlias.objects.get()
    assert (alias.models, alias.retries) == (["gpt-4o", "gpt-4"], 1)
    change = reverse("admin:gateway_modelalias_change", args=[alias.pk])
    assert "gpt-4o\ngpt-4</textarea>" in operator.get(change).content.decode()
    assert operator.post(change, typed | {"models": "gpt-4"}).status_code == 302
    assert "exists already" in operator.post(address, typed | {"models": "gpt-4"}).content.decode()
