"""Creating organizations and changing their settings."""

from __future__ import annotations

import pytest

from orgs.core.errors import Conflict, Invalid
from orgs.models import Organization
from orgs.settings import operations

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def test_new_organization_has_gateway_off() -> None:
    org = operations.create_organization(name="Acme Labs", timezone="Europe/Paris")
    org.refresh_from_db()
    assert (org.slug, org.timezone, org.ai_gateway_enabled) == ("acme-labs", "Europe/Paris", False)


def test_slug_can_be_given() -> None:
    assert operations.create_organization(name="東京", slug="tokyo").slug == "tokyo"


@pytest.mark.parametrize(
    ("name", "slug", "timezone", "field"),
    [
        ("  ", None, "UTC", "name"),
        ("x" * 201, None, "UTC", "name"),
        ("nul\x00", None, "UTC", "name"),
        ("東京", None, "UTC", "slug"),
        ("Acme", "", "UTC", "slug"),
        ("Acme", "Not a slug", "UTC", "slug"),
        ("Acme", "a" * 64, "UTC", "slug"),
        ("Acme", None, "Europe/Atlantis", "timezone"),
        ("Acme", None, "", "timezone"),
    ],
)
def test_invalid_value_names_field(name: str, slug: str | None, timezone: str, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        operations.create_organization(name=name, slug=slug, timezone=timezone)
    assert refusal.value.field == field
    assert not Organization.objects.exists()


def test_slug_is_unique(acme: Organization) -> None:
    with pytest.raises(Conflict, match='slug "acme" already exists'):
        operations.create_organization(name="Acme")


def test_slug_of_long_name_is_truncated() -> None:
    assert len(operations.create_organization(name="a" * 200).slug) == 63


def test_only_given_fields_change(acme: Organization) -> None:
    changed = operations.change_organization(org=acme, name="Acme & Sons", on_disconnect="drain")
    assert (changed.name, changed.on_disconnect) == ("Acme & Sons", "drain")
    assert (changed.timezone, changed.ai_gateway_enabled) == ("Europe/Paris", True)


def test_gateway_can_be_switched(acme: Organization) -> None:
    assert operations.set_gateway(org=acme, enabled=False).ai_gateway_enabled is False
    assert operations.set_gateway(org=acme, enabled=True).ai_gateway_enabled is True


def test_invalid_settings_are_rejected(acme: Organization) -> None:
    with pytest.raises(Invalid):
        operations.change_organization(org=acme, timezone="Mars/Olympus")
    with pytest.raises(Invalid):
        operations.change_organization(org=acme, on_disconnect="hang")
    with pytest.raises(Invalid):
        operations.change_organization(org=acme, name="")
