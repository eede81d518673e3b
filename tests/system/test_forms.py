"""Every form of every page names its organization, and every POST route refuses another's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import pytest
from django.test import Client

from gateway.models import AlertChannel
from orgs.auth.access import ACTIVE_ORGANIZATION
from orgs.models import Membership, Organization, User
from tests.factories import (
    AiRequestLogFactory,
    AlertChannelFactory,
    AlertFactory,
    AliasFactory,
    ApiKeyFactory,
    BudgetFactory,
    MembershipFactory,
    PolicyFactory,
    ProviderFactory,
)
from tests.system.routes import all_routes

pytestmark = pytest.mark.django_db

TEMPLATES: Final = Path(__file__).resolve().parents[2] / "templates"
# Its form is of the organization that was not active.
CHOICE: Final = "console/other_organization.html"
# What is not of an organization: a person's own account, the choice of an organization, and prices.
OF_NO_ORGANIZATION: Final = re.compile(
    r"$|login|logout|welcome/|organizations/switch|settings/profile|costs/alerts/confirm/"
    r"|models/(?:set|factor|hourly|undo)$"
)
API: Final = re.compile(r"api/|v1/|v1beta/|healthz|readyz")
# Operators' alone are of no organization, too.
ELSEWHERE: Final = ("admin/ai/", "admin/ai/<path:rest>", "costs/", "status.json")


class Forms(HTMLParser):
    """The forms of a page, with their hidden fields; and the elements that htmx posts for."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.forms: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.posts_without_form: list[dict[str, Any]] = []
        self._is_in_form = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found: dict[str, Any] = dict(attrs)
        if tag == "form":
            self.forms.append((found, {}))
            self._is_in_form = True
        elif tag == "input" and self._is_in_form and found.get("type") == "hidden":
            self.forms[-1][1][found["name"]] = found.get("value")
        posts = {"hx-post", "hx-put", "hx-patch", "hx-delete"} & found.keys()
        if posts and not (self._is_in_form or "hx-include" in found):
            self.posts_without_form.append(found)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._is_in_form = False


# A page whose query names what it shows.
OF_SESSION: Final = "admin/ai/session"
SESSION: Final = "s-1"


@pytest.fixture
def both(admin_user: User, globex: Organization) -> Client:
    """An admin of Acme and Globex, with Acme active; forms are checked as a browser's."""
    MembershipFactory.create(org=globex, user=admin_user, role=Membership.Role.ADMIN)
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    return client


@pytest.fixture
def ids(acme: Organization, member_user: User) -> dict[str, str]:
    """An id of Acme's for each name of a parameter."""
    rows = {
        "request_id": AiRequestLogFactory.create(org=acme, session_id=SESSION),
        "policy_id": PolicyFactory.create(org=acme),
        "alias_id": AliasFactory.create(org=acme),
        "key_id": ApiKeyFactory.create(org=acme),
        "member_id": Membership.objects.get(user=member_user),
        "budget_id": BudgetFactory.create(org=acme, each="user_id"),
        "alert_id": AlertFactory.create(org=acme),
        "provider_id": ProviderFactory.create(org=acme),
        "channel_id": AlertChannelFactory.create(org=acme, kind=AlertChannel.Kind.WEBHOOK),
    }
    of_model = {"provider": "openai", "name": "gpt-4o"}
    return {name: str(row.pk) for name, row in rows.items()} | of_model


def pages(ids: dict[str, str]) -> Iterator[str]:
    """Yield the path of every route of an organization."""
    for route in all_routes():
        if not (API.match(route) or OF_NO_ORGANIZATION.match(route) or route in ELSEWHERE):
            path = "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda found: ids[found[1]], route)
            yield f"{path}?id={SESSION}" if route == OF_SESSION else path


def test_every_form_of_every_page_names_its_organization(
    both: Client, acme: Organization, ids: dict[str, str]
) -> None:
    asked = posted = 0
    for path in pages(ids):
        response = both.get(path)
        if response.status_code == 405 or response.get("Content-Disposition"):
            continue
        assert response.status_code == (302 if path.startswith("/r/") else 200), path
        found = Forms(response.content.decode())
        assert not found.posts_without_form, path
        for form, fields in found.forms:
            if form["method"] == "post":
                assert fields["csrfmiddlewaretoken"], path
                assert fields["form_organization"] == str(acme.pk), (path, form)
                posted += 1
            elif "hx-target" in form and form["hx-target"] == "#dialog":
                assert fields["org"] == "acme", (path, form)
                asked += 1
    assert (asked, posted) > (5, 60)


def test_every_post_refuses_form_of_other_organization(
    both: Client, acme: Organization, globex: Organization, ids: dict[str, str]
) -> None:
    token = Forms(both.get("/settings/organization").content.decode()).forms[0][1]
    session = both.session
    session[ACTIVE_ORGANIZATION] = str(globex.pk)
    session.save()
    refused = []
    for path in pages(ids):
        status = both.post(path, {**token, "name": "New", "enabled": "off"}).status_code
        assert status in {405, 409}, (path, status)
        refused += [path] if status == 409 else []
    assert len(refused) > 20


def test_every_posted_form_of_templates_has_token() -> None:
    for template in TEMPLATES.rglob("*.html"):
        text = template.read_text()
        for form in re.findall(r'<form[^>]*method="post".*?</form>', text, re.DOTALL):
            name = str(template.relative_to(TEMPLATES))
            assert ("{% csrf_token %}" in form) or name == CHOICE, (name, form[:80])
        for form in re.findall(r'<form[^>]*hx-target="#dialog".*?</form>', text, re.DOTALL):
            assert "{% organization_field %}" in form, (template.name, form[:80])
