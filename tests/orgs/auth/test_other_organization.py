"""Forms and links of an organization that is not the active one: refused, with both choices."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.test import Client

from gateway.models import Policy
from orgs.auth.access import ACTIVE_ORGANIZATION
from orgs.models import Membership, Organization, User
from tests.factories import MembershipFactory, PolicyFactory

pytestmark = pytest.mark.django_db

CREATE = "/admin/ai/policies/create"
TYPED = {"name": "Only Acme", "allowed_models": 'gpt-4o\n"<b>', "days": "30"}
HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')


@pytest.fixture
def both(admin_user: User, globex: Organization) -> Client:
    """An admin of Acme and Globex, with Acme active; forms are checked as a browser's."""
    MembershipFactory.create(org=globex, user=admin_user, role=Membership.Role.ADMIN)
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    return client


def hidden(page: str, action: str = "") -> dict[str, str]:
    """Return the hidden fields of the form with this action."""
    start = page.index(f'action="{action}"') if action else page.index('id="policy-form"')
    form = page[start : page.index("</form>", start)]
    return {name: unescape(value) for name, value in HIDDEN.findall(form)}


def activate(client: Client, organization: Organization) -> None:
    """Make an organization active, as another tab would."""
    session = client.session
    session[ACTIVE_ORGANIZATION] = str(organization.pk)
    session.save()


def text(client: Client, path: str) -> str:
    return client.get(path).content.decode()


def test_form_of_other_organization_is_refused_and_keeps_what_was_typed(
    both: Client, acme: Organization, globex: Organization
) -> None:
    form = hidden(text(both, CREATE))
    assert form["form_organization"] == str(acme.pk)
    activate(both, globex)
    response = both.post(CREATE, TYPED | form)
    page = response.content.decode()
    assert response.status_code == 409
    assert response["Cache-Control"].startswith("max-age=0, no-cache, no-store")
    assert not Policy.objects.exists()
    for sentence in (
        "This page is for organization &quot;Acme&quot;; the active organization is "
        "&quot;Globex&quot;. Nothing was changed.",
        "Switch to Acme and send the form there",
        "Stay in Globex",
    ):
        assert sentence in page
    again = hidden(page, CREATE)
    assert {name: again[name] for name in TYPED} == TYPED
    assert both.session[ACTIVE_ORGANIZATION] == str(globex.pk)


def test_choice_of_form_organization_saves_there_and_makes_it_active(
    both: Client, acme: Organization, globex: Organization
) -> None:
    typed = TYPED | {"allowed_models": "gpt-4o"}
    form = hidden(text(both, CREATE))
    activate(both, globex)
    again = hidden(both.post(CREATE, typed | form).content.decode(), CREATE)
    response = both.post(CREATE, again)
    assert response.status_code == 302
    assert Policy.objects.get().org == acme
    assert both.session[ACTIVE_ORGANIZATION] == str(acme.pk)


def test_confirmation_of_other_organization_changes_nothing(
    both: Client, acme: Organization, globex: Organization
) -> None:
    policy = PolicyFactory.create(org=acme, name="Kept")
    path = f"/admin/ai/policies/{policy.pk}/delete"
    form = hidden(text(both, path), path)
    activate(both, globex)
    assert both.post(path, form).status_code == 409
    assert Policy.objects.filter(pk=policy.pk).exists()
    question = both.get(f"{path}?org=acme")
    assert question.status_code == 409
    assert "Switch to Acme" in question.content.decode()


def test_htmx_gets_sentence_alone(both: Client, acme: Organization, globex: Organization) -> None:
    form = hidden(text(both, CREATE))
    activate(both, globex)
    response = both.post("/admin/ai/policies/effect", TYPED | form, headers={"HX-Request": "true"})
    assert response.status_code == 409
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response.content.decode().endswith('is "Globex". Nothing was changed. Reload the page.')


@pytest.mark.parametrize("named", ["", "1234", "01a208b6-8176-71c0-bcb7-5d3dc01d4fca"])
def test_form_of_unknown_organization_is_refused(
    both: Client, acme: Organization, named: str
) -> None:
    form = hidden(text(both, CREATE))
    more = {"form_organization": named, "change_organization": "yes"}
    response = both.post(CREATE, TYPED | form | more)
    assert response.status_code == 409
    assert "This page is for another organization" in response.content.decode()
    assert not Policy.objects.exists()


def test_post_that_names_none_is_for_active_organization(
    both: Client, acme: Organization, globex: Organization
) -> None:
    form = hidden(text(both, CREATE))
    del form["form_organization"]
    activate(both, globex)
    assert both.post(CREATE, TYPED | {"allowed_models": "gpt-4o"} | form).status_code == 302
    assert Policy.objects.get().org == globex


def test_form_of_organization_that_user_left_names_no_foreign_organization(
    both: Client, admin_user: User, acme: Organization, globex: Organization
) -> None:
    form = hidden(text(both, CREATE))
    Membership.objects.filter(user=admin_user, org=acme).delete()
    response = both.post(CREATE, TYPED | form | {"change_organization": "yes"})
    assert response.status_code == 409
    assert "Acme" not in response.content.decode()
    assert not Policy.objects.exists()


def test_role_counts_in_chosen_organization(
    both: Client, admin_user: User, acme: Organization, globex: Organization
) -> None:
    form = hidden(text(both, CREATE))
    Membership.objects.filter(user=admin_user, org=acme).update(role=Membership.Role.AUDITOR)
    activate(both, globex)
    response = both.post(CREATE, TYPED | form | {"change_organization": "yes"})
    assert response.status_code == 403
    assert not Policy.objects.exists()


def test_link_offers_its_organization(
    both: Client, acme: Organization, globex: Organization
) -> None:
    link = "/costs/alerts?alertId=01a208b6-8176-71c0-bcb7-5d3dc01d4fca&org=globex"
    response = both.get(link)
    page = response.content.decode()
    assert response.status_code == 409
    assert "Nothing was changed" not in page
    assert both.session.get(ACTIVE_ORGANIZATION) is None
    switch = hidden(page[page.index("<main") :], "/organizations/switch")
    switch["organization"] = str(globex.pk)
    assert both.post("/organizations/switch", switch)["Location"] == link
    assert both.get(link).status_code == 200


def test_link_to_organization_of_others_is_not_found(
    client: Client, admin_user: User, globex: Organization
) -> None:
    client.force_login(admin_user)
    answers = [client.get(f"/costs?org={slug}") for slug in ("globex", "no-such-one")]
    assert [answer.status_code for answer in answers] == [404, 404]
    pages = [re.sub(rb'(csrfmiddlewaretoken" value=)"\w+"', rb"\1", a.content) for a in answers]
    assert pages[0] == pages[1]
    assert client.get("/costs?org=acme").status_code == 200
