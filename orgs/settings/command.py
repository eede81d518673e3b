"""`manage.py orgs`: create organizations, turn their AI Gateway and their storage on or off."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from orgs.console.commands import ActionCommand, add_format, add_report, organization, write_rows
from orgs.core.pseudonyms import Pseudonyms, keyed_by
from orgs.models import Organization
from orgs.settings import operations


class Command(ActionCommand):
    help = "Create organizations and turn their AI Gateway on or off."

    def actions(self, add: Callable[..., CommandParser]) -> None:
        add_format(add("list", self.list, help="list the organizations"))
        create = add("create", self.create, help="create an organization, its AI Gateway off")
        create.add_argument("name", metavar="NAME", help="such as Acme")
        create.add_argument("--slug", help="short name for commands; derived from NAME if omitted")
        create.add_argument(
            "--timezone", default="UTC", help="IANA time zone of its days; default: UTC"
        )
        for name, enabled in (("enable", True), ("disable", False)):
            switch = add(
                name, self.switch, help=f"turn the AI Gateway {'on' if enabled else 'off'}"
            )
            switch.add_argument("slug", metavar="SLUG")
            switch.set_defaults(enabled=enabled)
        store = add(
            "store",
            self.store,
            help="let OpenAI store answers of the Responses API, as clients ask, or never",
        )
        store.add_argument("slug", metavar="SLUG")
        store.add_argument("state", choices=("on", "off"))
        add_report(add("show", self.show, help="show one organization"))

    def list(self, options: dict[str, Any]) -> None:
        rows = [_row(org) for org in Organization.objects.order_by("slug")]
        write_rows(self.stdout, rows, format=options["format"])

    def create(self, options: dict[str, Any]) -> None:
        org = operations.create_organization(
            name=options["name"], slug=options["slug"], timezone=options["timezone"]
        )
        self.stdout.write(f"Created organization {org.slug}; its AI Gateway is off.")
        self.stdout.write(f"To turn it on: manage.py orgs enable {org.slug}")

    def switch(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        operations.set_gateway(org=org, enabled=options["enabled"])
        state = "on" if options["enabled"] else "off"
        self.stdout.write(f"The AI Gateway of {org.slug} is {state}, from the next request.")

    def store(self, options: dict[str, Any]) -> None:
        org, state = organization(options["slug"]), options["state"]
        operations.set_storage(org=org, enabled=state == "on")
        self.stdout.write(f"Storage of {org.slug}'s answers is {state}, from the next request.")

    def show(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        row = _row(org) | {
            "id": str(org.pk),
            "named_to_vendors": Pseudonyms(keyed_by(settings.PROMPT_HASH_KEY, org.pk)).organization,
            "on_disconnect": org.on_disconnect,
            "stores_answers": org.stores_answers,
            "members": org.memberships.count(),
            "keys": org.api_keys.filter(revoked_at__isnull=True).count(),
        }
        if options["format"] == "json":
            self.stdout.write(json.dumps(row, indent=2))
            return
        for name, value in row.items():
            self.stdout.write(f"{name}: {value}")


def _row(org: Organization) -> dict[str, Any]:
    return {
        "slug": org.slug,
        "name": org.name,
        "ai_gateway_enabled": org.ai_gateway_enabled,
        "timezone": org.timezone,
        "created_at": org.created_at.isoformat(timespec="seconds"),
    }
