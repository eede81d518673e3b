"""The short address of a request, which needs no organization."""

from __future__ import annotations

import pytest
from django.test import Client

from orgs.fields import new_id
from orgs.models import Membership, Organization, User
from tests.cast import CLIENTS
from tests.factories import (
    AiRequestLogFactory,
)

pytestmark = pytest.mark.django_db


def test_short_address_leads_to_page_in_organization_of_request(
    client_for: CLIENTS, admin_user: User, acme: Organization, client: Client
) -> None:
    row = AiRequestLogFactory.create(org=acme)
    signed_in = client_for(admin_user)
    response = signed_in.get(f"/r/{row.pk}")
    assert response.status_code == 302
    assert response.headers["location"] == f"/admin/ai/requests/{row.pk}?org={acme.slug}"
    assert signed_in.get(response.headers["location"]).status_code == 200
    for unknown in (new_id(), "nothing"):
        assert signed_in.get(f"/r/{unknown}").status_code == 404
    assert client.get(f"/r/{row.pk}").headers["location"] == f"/login?next=/r/{row.pk}"


def test_short_address_of_other_organization_is_not_found(
    client_for: CLIENTS, admin_user: User, globex: Organization
) -> None:
    row = AiRequestLogFactory.create(org=globex)
    assert client_for(admin_user).get(f"/r/{row.pk}").status_code == 404


def test_short_address_leads_into_any_organization_of_member(
    client_for: CLIENTS, admin_user: User, globex: Organization
) -> None:
    Membership.objects.create(org=globex, user=admin_user, role=Membership.Role.MEMBER)
    row = AiRequestLogFactory.create(org=globex)
    response = client_for(admin_user).get(f"/r/{row.pk}")
    assert response.headers["location"] == f"/admin/ai/requests/{row.pk}?org={globex.slug}"
