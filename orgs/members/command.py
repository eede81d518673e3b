"""`manage.py members`: manage the members of an organization."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.timezone import now

from orgs.console.commands import (
    ActionCommand,
    add_report,
    installation_url,
    organization,
    write_rows,
)
from orgs.members import invitations, operations, reports
from orgs.members.invitations import NewLink
from orgs.models import Invitation, Membership


class Command(ActionCommand):
    help = (
        "Manage the members of an organization. An admin has full access, a member can use the "
        "gateway and view, an auditor can view but cannot send requests. "
        "To set another password for a person: manage.py changepassword EMAIL"
    )

    def actions(self, add: Callable[..., CommandParser]) -> None:
        member = add(
            "add",
            self.add,
            help="invite a member, or create one with a password",
            description="Prints a one-time link, alone on the last line and valid for three days: "
            "who opens it sets a password, or signs in to an existing account, and becomes a "
            "member. With --password-stdin, creates a new account and its membership at once.",
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
        _add_who(
            add(
                "link",
                self.link,
                help="print a new link for an invitation, or one by which a member of this "
                "organization alone sets another password; the old one ends",
            )
        )
        _add_who(
            add(
                "remove",
                self.remove,
                help="remove a member and revoke their keys, or an invitation",
            )
        )

    def add(self, options: dict[str, Any]) -> None:
        org, email, role = organization(options["slug"]), options["email"], options["role"]
        if options["password_stdin"]:
            password = _password_from_stdin()
            made = operations.create_member(org=org, email=email, role=role, password=password)
            self.stdout.write(f"{made.user.email} has the role {role} in {org.slug}.")
            return
        link = invitations.invite(org=org, email=email, role=role)
        self.stdout.write(f"{link.invitation.email} is invited to {org.slug} with the role {role}.")
        self._write_link(link)

    def list(self, options: dict[str, Any]) -> None:
        rows = [
            {
                "email": row.email,
                "name": row.name,
                "role": row.role,
                "is_active": row.is_active,
                "has_password": row.has_password,
                "accepted": row.has_accepted,
                "address_confirmed": row.is_confirmed,
            }
            for row in reports.members(organization(options["slug"]), moment=now())
        ]
        write_rows(self.stdout, rows, format=options["format"])

    def role(self, options: dict[str, Any]) -> None:
        found, role = _found(options), options["role"]
        if isinstance(found, Invitation):
            link = invitations.renew_link(invitation=found, role=role)
            self.stdout.write(f"{found.email} is now invited with the role {role}.")
            self._write_link(link)
            return
        operations.change_role(membership=found, role=role)
        self.stdout.write(f"{options['email']} now has the role {role}.")

    def link(self, options: dict[str, Any]) -> None:
        found = _found(options)
        if isinstance(found, Invitation):
            self._write_link(invitations.renew_link(invitation=found))
        else:
            self._write_link(invitations.link_for_member(membership=found))

    def remove(self, options: dict[str, Any]) -> None:
        found = _found(options)
        if isinstance(found, Invitation):
            invitations.withdraw(invitation=found)
            self.stdout.write(f"Removed the invitation of {found.email}.")
            return
        revoked = operations.remove_member(membership=found)
        self.stdout.write(f"Removed {options['email']}. Keys revoked: {revoked}.")

    def _write_link(self, link: NewLink) -> None:
        purpose = "to set another password" if link.resets_password else "to join"
        self.stdout.write(
            f"One-time link {purpose}, valid for three days; earlier links are invalid:"
        )
        self.stdout.write(installation_url() + link.path)


def _add_who(action: CommandParser) -> None:
    action.add_argument("slug", metavar="SLUG", help="the organization")
    action.add_argument("email", metavar="EMAIL")


def _add_role(action: CommandParser) -> None:
    action.add_argument(
        "--role", required=True, choices=Membership.Role.values, help="admin, member or auditor"
    )


def _found(options: dict[str, Any]) -> Membership | Invitation:
    return reports.member_with_email(organization(options["slug"]), options["email"])


def _password_from_stdin() -> str:
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise CommandError("No password was given on standard input")
    return password
