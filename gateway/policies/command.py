"""`manage.py policies`: makes, lists, changes, removes and tries out policies."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.management.base import CommandParser
from django.db import transaction
from django.utils.timezone import now

from gateway.console.fields import plain_eur
from gateway.console.sentences import names_of_no_model
from gateway.models import Policy
from gateway.policies import operations, reports
from gateway.policies.backtest import PERIODS_DAYS, backtest, rule_of
from gateway.policies.backtest_json import backtest_as_json
from gateway.policies.forms import PolicyForm, policy_values
from gateway.policies.words import backtest_sentence, limits_sentence
from gateway.providers.catalog import load_catalog
from orgs.console.commands import (
    ActionCommand,
    add_format,
    as_typed,
    checked,
    organization,
    write_rows,
)
from orgs.core.errors import Invalid, Missing
from orgs.locking import locked
from orgs.models import Organization

# option, the form's field, what it is, how to take it away
LIMITS = (
    ("--allow", "allowed_models", "M,…", "the only models that may be called"),
    ("--block", "blocked_models", "M,…", "models that may not be called"),
    ("--max-cost-per-day", "max_cost_per_day_eur", "EUR", "what the organization may spend a day"),
    ("--max-tokens", "max_tokens_per_request", "N", "what a request may have, in and out"),
)
LISTS = ("allowed_models", "blocked_models")


class Command(ActionCommand):
    help = "Makes, lists, changes and removes policies. A change holds from the next request on."

    def actions(self, add: Callable[..., CommandParser]) -> None:
        create = add("create", self.create, help="make a policy; it is on")
        create.add_argument("slug", metavar="SLUG", help="the organization")
        create.add_argument("--name", required=True, help="its name, which refusals quote")
        _add_limits(create)
        listing = add("list", self.list, help="list an organization's policies")
        listing.add_argument("slug", metavar="SLUG", help="the organization")
        add_format(listing)
        update = add("update", self.update, help="change what is given and leave the rest")
        _add_policy(update)
        update.add_argument("--rename", metavar="NAME", help="its new name")
        switch = update.add_mutually_exclusive_group()
        switch.add_argument("--enable", dest="enabled", action="store_const", const=True)
        switch.add_argument("--disable", dest="enabled", action="store_const", const=False)
        _add_limits(update)
        for option, field, _, _ in LIMITS:
            update.add_argument(
                option.replace("--", "--no-", 1),
                dest=f"no_{field}",
                action="store_true",
                help=f"take the limit of {option} away",
            )
        delete = add("delete", self.delete, help="remove a policy for good")
        _add_policy(delete)
        replay = add("backtest", self.backtest, help="show what a policy would have done")
        replay.add_argument("slug", metavar="SLUG", help="the organization")
        replay.add_argument("name", metavar="NAME", nargs="?", help="the policy to begin with")
        replay.add_argument("--days", type=int, choices=PERIODS_DAYS, default=30)
        _add_limits(replay)
        add_format(replay)

    def create(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        form = _checked(_given(options) | {"name": options["name"]})
        policy = operations.create_policy(organization_id=org.pk, limits=form.limits())
        self._warn(form)
        self.stdout.write(f'Made the policy "{policy.name}" of {org.slug}; it is on.')

    def list(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        rows = [_row(policy) for policy in reports.policies(organization_id=org.pk)]
        if options["format"] == "text":
            rows = [row | {name: ", ".join(row[name]) or None for name in LISTS} for row in rows]
        write_rows(self.stdout, rows, format=options["format"])

    def update(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        changes = _changes(options)
        if not changes and options["enabled"] is None:
            raise Invalid("Say what to change; see --help")
        # Read and written under one lock, or two commands could each undo the other's change.
        with transaction.atomic():
            locked(org.pk)
            policy = _the_policy(org, options["name"])
            form = _checked(policy_values(policy) | changes)
            operations.update_policy(
                organization_id=org.pk,
                policy_id=policy.pk,
                limits=form.limits(),
                enabled=options["enabled"],
            )
        self._warn(form)
        self.stdout.write(f'Changed the policy "{form.limits().name}" of {org.slug}.')

    def delete(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        policy = _the_policy(org, options["name"])
        operations.delete_policy(organization_id=org.pk, policy_id=policy.pk)
        self.stdout.write(f'Deleted the policy "{policy.name}" of {org.slug}.')

    def backtest(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        named = options["name"]
        values = policy_values(_the_policy(org, named)) if named else {"name": "this policy"}
        form = _checked(values | _given(options))
        catalog = load_catalog(sandbox=settings.SANDBOX)
        report = backtest(
            organization_id=org.pk,
            zone=ZoneInfo(org.timezone),
            rule=rule_of(form.limits(), catalog),
            catalog=catalog,
            moment=now(),
            days=options["days"],
        )
        if options["format"] == "json":
            found = {"policy": limits_sentence(form.limits()), **backtest_as_json(report)}
            self.stdout.write(json.dumps(found, indent=2))
            return
        self.stdout.write(limits_sentence(form.limits()))
        self.stdout.write(backtest_sentence(report))
        for example in report.examples:
            moment = example.occurred_at.isoformat(timespec="seconds")
            self.stdout.write(f"  {moment}  {example.request_id}  {example.sentence}")

    def _warn(self, form: PolicyForm) -> None:
        limits = form.limits()
        entries = [*limits.allowed_models, *limits.blocked_models]
        if unknown := names_of_no_model(entries, load_catalog(sandbox=settings.SANDBOX)):
            self.stderr.write(f"Warning: no known model is meant by: {', '.join(unknown)}")


def _add_policy(action: CommandParser) -> None:
    action.add_argument("slug", metavar="SLUG", help="the organization")
    action.add_argument("name", metavar="NAME", help="the policy")


def _add_limits(action: CommandParser) -> None:
    for option, field, metavar, what in LIMITS:
        action.add_argument(option, dest=field, metavar=metavar, help=what)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    said = {field: options[field] for _, field, _, _ in LIMITS}
    return {field: value for field, value in said.items() if value is not None}


def _changes(options: dict[str, Any]) -> dict[str, Any]:
    changes = _given(options)
    for option, field, _, _ in LIMITS:
        if options[f"no_{field}"]:
            if field in changes:
                raise Invalid(f"{option} and its --no- form exclude each other")
            changes[field] = ""
    if options["rename"] is not None:
        changes["name"] = options["rename"]
    return changes


def _checked(values: dict[str, Any]) -> PolicyForm:
    return checked(PolicyForm(as_typed(values)))


def _the_policy(org: Organization, name: str) -> Policy:
    policy = Policy.objects.filter(org=org, name__iexact=name.strip()).first()
    if policy is None:
        raise Missing(f'{org.slug} has no policy "{name}"')
    return policy


def _row(policy: Policy) -> dict[str, Any]:
    nanoeur = policy.max_cost_per_day_nanoeur
    return {
        "name": policy.name,
        "enabled": policy.enabled,
        "allowed_models": policy.allowed_models,
        "blocked_models": policy.blocked_models,
        "max_cost_per_day_eur": None if nanoeur is None else plain_eur(nanoeur),
        "max_tokens_per_request": policy.max_tokens_per_request,
        "id": str(policy.pk),
    }
