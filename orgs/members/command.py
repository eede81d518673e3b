"""`manage.py members`: manage the members of an organization."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError, CommandParser

from orgs.console.commands import (
    ActionCommand,
    add_report,
    installation_url,
    organization,
    write_rows,
)
from orgs.core.errors import Missing
from orgs.members import operations, reports
from orgs.models import Membership


class Command(ActionCommand):
    help = (
        "Manage the members of an organization. An admin has full access, a member can use the "
        "gateway and view, an auditor can view but cannot send requests. "
        "To reset a forgotten password: manage.py changepassword EMAIL"
    )

    def actions(self, add: Callable[..., CommandParser]) -> None:
        member = add(
            "add",
            self.add,
            help="add a member, creating their account if needed",
            description="Adds a member. A new user gets a password from standard input, or a "
            "one-time link to set one, printed alone on the last line and valid for three days.",
        )
        _add_who(member)
        _add_role(member)
        member.add_argument(
            "--password-stdin",
            action="store_true",
            help="read the new account's password from standard input",
        )
        add_report(add("list", self.list, help="list the members"))
        role = add("role", self.role, help="change a member's role")
        _add_who(role)
        _add_role(role)
        _add_who(add("link", self.link, help="print a new link for a member without a password"))
        _add_who(add("remove", self.remove, help="remove a member and revoke their keys"))

    def add(self, options: dict[str, Any]) -> None:
        added = operations.add_member(
            org=organization(options["slug"]),
            email=options["email"],
            role=options["role"],
            password=_password_from_stdin() if options["password_stdin"] else None,
        )
        email = added.membership.user.email
        self.stdout.write(f"{email} has the role {options['role']} in {options['slug']}.")
        if added.welcome_path is not None:
            self._write_link(added.welcome_path)

    def list(self, options: dict[str, Any]) -> None:
        rows = [
            {
                "email": row.email,
                "name": row.name,
                "role": row.role,
                "is_active": row.is_active,
                "has_password": row.has_password,
            }
            for row in reports.members(organization(options["slug"]))
        ]
        write_rows(self.stdout, rows, format=options["format"])

    def role(self, options: dict[str, Any]) -> None:
        operations.change_role(membership=_membership(options), role=options["role"])
        self.stdout.write(f"{options['email']} now has the role {options['role']}.")

    def link(self, options: dict[str, Any]) -> None:
        self._write_link(operations.new_welcome_path(membership=_membership(options)))

    def remove(self, options: dict[str, Any]) -> None:
        revoked = operations.remove_member(membership=_membership(options))
        self.stdout.write(f"Removed {options['email']}. Keys revoked: {revoked}.")

    def _write_link(self, path: str) -> None:
        self.stdout.write("One-time link to set a password, valid for three days:")
        self.stdout.write(installation_url() + path)


def _add_who(action: CommandParser) -> None:
    action.add_argument("slug", metavar="SLUG", help="the organization")
    action.add_argument("email", metavar="EMAIL")


def _add_role(action: CommandParser) -> None:
    action.add_argument(
        "--role", required=True, choices=Membership.Role.values, help="admin, member or auditor"
    )


def _membership(options: dict[str, Any]) -> Membership:
    org, email = organization(options["slug"]), options["email"].strip().lower()
    found = Membership.objects.select_related("user").filter(org=org, user__email=email).first()
    if found is None:
        raise Missing(f"{email} is not a member of {org.slug}")
    return found


def _password_from_stdin() -> str:
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise CommandError("No password was given on standard input")
    return password
