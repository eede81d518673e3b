"""`manage.py members`: lets people into an organization, with a role."""

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
        "Lets people into an organization, with a role: an admin changes everything, a member "
        "uses the gateway and sees, an auditor sees everything and changes nothing. "
        "A forgotten password is set anew with: manage.py changepassword EMAIL"
    )

    def actions(self, add: Callable[..., CommandParser]) -> None:
        member = add(
            "add",
            self.add,
            help="add a member, and make their account when there is none",
            description="Adds a member. A new person gets a password from standard input, or a "
            "link to set one, printed alone on the last line, good once and for three days.",
        )
        _add_who(member)
        _add_role(member)
        member.add_argument(
            "--password-stdin",
            action="store_true",
            help="read the new account's password from standard input",
        )
        add_report(add("list", self.list, help="list the members"))
        role = add("role", self.role, help="give a member another role")
        _add_who(role)
        _add_role(role)
        _add_who(add("link", self.link, help="print a new link for one without a password"))
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
        self.stdout.write(f"{options['email']} has the role {options['role']} now.")

    def link(self, options: dict[str, Any]) -> None:
        self._write_link(operations.new_welcome_path(membership=_membership(options)))

    def remove(self, options: dict[str, Any]) -> None:
        revoked = operations.remove_member(membership=_membership(options))
        self.stdout.write(f"{options['email']} is removed; keys revoked with them: {revoked}.")

    def _write_link(self, path: str) -> None:
        self.stdout.write("A link to set a password, good once and for three days:")
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
        raise CommandError("There is no password on standard input")
    return password
