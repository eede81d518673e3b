"""`manage.py policies`: create, list, update, delete and backtest policies."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.management.base import CommandParser
from django.db import transaction
from django.utils.timezone import now

from gateway.console.dimensions import KNOWN_FIELDS, WORDS
from gateway.console.fields import plain_eur
from gateway.models import Policy
from gateway.policies import operations, reports
from gateway.policies.backtests.backtest import PERIODS_DAYS, backtest, rule_of
from gateway.policies.backtests.backtest_json import backtest_as_json
from gateway.policies.forms import PolicyForm, policy_values
from gateway.policies.sentences import backtest_sentence, limits_sentence
from gateway.providers.catalog import load_catalog, names_of_no_model
from orgs.console.commands import (
    ActionCommand,
    add_named,
    add_removals,
    add_report,
    as_typed,
    changes_in,
    checked,
    given,
    organization,
    the_named,
    write_rows,
)
from orgs.locking import locked
from orgs.models import Organization

# option, the form's field, how its value is written, what it is
LIMITS = (
    ("--allow", "allowed_models", "M,…", "the only models that may be called"),
    ("--block", "blocked_models", "M,…", "models that may not be called"),
    ("--max-cost-per-day", "max_cost_per_day_eur", "EUR", "the organization's daily limit"),
    ("--max-tokens", "max_tokens_per_request", "N", "the maximum per request, input and output"),
    ("--max-output-tokens", "max_output_tokens", "N", "the highest output cap of an answer"),
    ("--require", "required_dimensions", "D,…", f"required of: {', '.join(WORDS.values())}"),
    *(
        ("--" + field.replace("_", "-"), field, "V,…", f"the only values of {WORDS[name]}")
        for name, field in KNOWN_FIELDS.items()
    ),
)
OF_DIMENSIONS = ("required_dimensions", *KNOWN_FIELDS.values())
FIELDS = tuple(field for _, field, _, _ in LIMITS)


class Command(ActionCommand):
    help = (
        "Create, list, update, delete and backtest policies. Changes apply from the next request."
    )

    def actions(self, add: Callable[..., CommandParser]) -> None:
        create = add("create", self.create, help="create a policy; it is enabled")
        create.add_argument("slug", metavar="SLUG", help="the organization")
        create.add_argument("--name", required=True, help="the policy's name, which refusals quote")
        _add_limits(create)
        add_report(add("list", self.list, help="list an organization's policies"))
        update = add("update", self.update, help="change the given options and keep the rest")
        add_named(update, "policy")
        update.add_argument("--rename", metavar="NAME", help="the new name")
        switch = update.add_mutually_exclusive_group()
        switch.add_argument("--enable", dest="enabled", action="store_const", const=True)
        switch.add_argument("--disable", dest="enabled", action="store_const", const=False)
        _add_limits(update)
        add_removals(update, LIMITS, help="remove the limit of {}")
        add_named(add("delete", self.delete, help="delete a policy"), "policy")
        replay = add("backtest", self.backtest, help="show what a policy would have done")
        add_report(replay)
        replay.add_argument("name", metavar="NAME", nargs="?", help="the policy to start from")
        replay.add_argument("--days", type=int, choices=PERIODS_DAYS, default=30)
        _add_limits(replay)

    def create(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        form = _checked(given(options, FIELDS) | {"name": options["name"]})
        policy = operations.create_policy(organization_id=org.pk, limits=form.limits())
        self._warn(form)
        self.stdout.write(f'Created policy "{policy.name}" of {org.slug}; it is enabled.')

    def list(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        rows = [_row(policy) for policy in reports.policies(organization_id=org.pk)]
        if options["format"] == "text":
            rows = [_as_text(row) for row in rows]
        write_rows(self.stdout, rows, format=options["format"])

    def update(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        changes = changes_in(options, FIELDS, removable=LIMITS)
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
        self.stdout.write(f'Updated policy "{form.limits().name}" of {org.slug}.')

    def delete(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        policy = _the_policy(org, options["name"])
        operations.delete_policy(organization_id=org.pk, policy_id=policy.pk)
        self.stdout.write(f'Deleted policy "{policy.name}" of {org.slug}.')

    def backtest(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        named = options["name"]
        values = policy_values(_the_policy(org, named)) if named else {"name": "this policy"}
        form = _checked(values | given(options, FIELDS))
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
        if unknown := names_of_no_model(entries):
            self.stderr.write(f"Warning: unknown model: {', '.join(unknown)}")


def _add_limits(action: CommandParser) -> None:
    for option, field, metavar, what in LIMITS:
        kind = _one_per_line if field in OF_DIMENSIONS else str
        action.add_argument(option, dest=field, metavar=metavar, help=what, type=kind)


def _one_per_line(text: str) -> str:
    return text.replace(",", "\n")


def _checked(values: dict[str, Any]) -> PolicyForm:
    return checked(PolicyForm(as_typed(values)))


def _the_policy(org: Organization, name: str) -> Policy:
    return the_named(Policy.objects, org, name, what="policy")


def _row(policy: Policy) -> dict[str, Any]:
    nanoeur = policy.max_cost_per_day_nanoeur
    return {
        "name": policy.name,
        "enabled": policy.enabled,
        "allowed_models": policy.allowed_models,
        "blocked_models": policy.blocked_models,
        "max_cost_per_day_eur": None if nanoeur is None else plain_eur(nanoeur),
        "max_tokens_per_request": policy.max_tokens_per_request,
        "max_output_tokens": policy.max_output_tokens,
        "required_dimensions": policy.required_dimensions,
        "known_values": policy.known_values,
        "id": str(policy.pk),
    }


def _as_text(row: dict[str, Any]) -> dict[str, Any]:
    known = {WORDS[name]: ", ".join(values) for name, values in row["known_values"].items()}
    return row | {"known_values": known}
