"""`manage.py policies`: create, list, update, delete and backtest policies."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import CommandParser
from django.db import transaction
from django.utils.timezone import now

from gateway.console.dimensions import KNOWN_FIELDS, WORDS
from gateway.console.fields import HOLD_HELP, eur_or_none
from gateway.guards.policies import WAIT_S, PolicyMode
from gateway.models import Policy
from gateway.policies import operations, reports
from gateway.policies.applies_to import NAMED_FIELDS
from gateway.policies.backtests.backtest import PERIODS_DAYS, backtest, rule_of
from gateway.policies.backtests.backtest_json import backtest_as_json
from gateway.policies.forms import PolicyForm, policy_values
from gateway.policies.names import NAMED_WORDS, PolicyNames, names_in
from gateway.policies.sentences import backtest_sentence, policy_sentence
from gateway.providers.known import known_models
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
    ("--mode", "mode", "MODE", "on, off, or watch: counts what it would refuse, refuses nothing"),
    ("--allow", "allowed_models", "M,…", "the only models that may be called"),
    ("--block", "blocked_models", "M,…", "models that may not be called"),
    *(
        ("--" + field.replace("_", "-"), field, "V,…", f"the {field.replace('_', ' ')} it is for")
        for field in NAMED_FIELDS.values()
    ),
    (
        *("--max-cost-per-day", "max_cost_per_day_eur", "EUR"),
        "the daily limit of all requests that it applies to",
    ),
    (
        "--max-cost-per-session",
        "max_cost_per_session_eur",
        "EUR",
        "the limit of an agent's session",
    ),
    ("--max-tokens", "max_tokens_per_request", "N", "the maximum per request, input and output"),
    ("--max-output-tokens", "max_output_tokens", "N", "the highest output cap of an answer"),
    ("--rpm", "requests_per_minute", "N", "the most admitted requests in a minute"),
    ("--tpm", "tokens_per_minute", "N", "the most tokens in a minute, input and output cap"),
    ("--concurrent", "concurrent_requests", "N", "the most requests that run at once"),
    ("--wait", "wait_s", "S", f"how long calls wait for room or their turn: {WAIT_S} s"),
    ("--hold", "hold", "HOLD", HOLD_HELP),
    (
        *("--web-searches", "web_searches_per_request", "N"),
        "the most web searches of a request at the provider; 0 refuses those that could search",
    ),
    ("--require", "required_dimensions", "D,…", f"required of: {', '.join(WORDS.values())}"),
    *(
        ("--" + field.replace("_", "-"), field, "V,…", f"the only values of {WORDS[name]}")
        for name, field in KNOWN_FIELDS.items()
    ),
)
HAVE_VALUES = ("mode", "wait_s", "hold")
REMOVABLE = tuple(limit for limit in LIMITS if limit[1] not in HAVE_VALUES)
LISTS = ("required_dimensions", *KNOWN_FIELDS.values(), *NAMED_FIELDS.values())
FIELDS = tuple(field for _, field, _, _ in LIMITS)


class Command(ActionCommand):
    help = (
        "Create, list, update, delete and backtest policies. Changes apply from the next request."
    )

    def actions(self, add: Callable[..., CommandParser]) -> None:
        create = add("create", self.create, help="create a policy")
        create.add_argument("slug", metavar="SLUG", help="the organization")
        create.add_argument("--name", required=True, help="the policy's name, which refusals quote")
        _add_limits(create)
        add_report(add("list", self.list, help="list an organization's policies"))
        update = add("update", self.update, help="change the given options and keep the rest")
        add_named(update, "policy")
        update.add_argument("--rename", metavar="NAME", help="the new name")
        switch = update.add_mutually_exclusive_group()
        for option, mode in (("--enable", PolicyMode.ON), ("--disable", PolicyMode.OFF)):
            of_mode = f"the same as --mode {mode}"
            switch.add_argument(option, dest="mode", action="store_const", const=mode, help=of_mode)
        _add_limits(update)
        add_removals(update, REMOVABLE, help="remove the limit of {}")
        add_named(add("delete", self.delete, help="delete a policy"), "policy")
        replay = add("backtest", self.backtest, help="show what a policy would have done")
        add_report(replay)
        replay.add_argument("name", metavar="NAME", nargs="?", help="the policy to start from")
        replay.add_argument("--days", type=int, choices=PERIODS_DAYS, default=30)
        _add_limits(replay)

    def create(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        form = _checked(org, given(options, FIELDS) | {"name": options["name"]})
        policy = operations.create_policy(organization_id=org.pk, limits=form.limits())
        self._warn(form)
        state = {PolicyMode.ON: "enabled", PolicyMode.WATCH: "watched", PolicyMode.OFF: "off"}
        of_mode = state[PolicyMode(policy.mode)]
        self.stdout.write(f'Created policy "{policy.name}" of {org.slug}; it is {of_mode}.')

    def list(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        found = reports.policies(organization_id=org.pk)
        names = names_in(org.pk, [policy.applies_to for policy in found])
        rows = [_row(policy, names) for policy in found]
        if options["format"] == "text":
            rows = _without_empty([_as_text(row) for row in rows])
        write_rows(self.stdout, rows, format=options["format"])

    def update(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        changes = changes_in(options, FIELDS, removable=REMOVABLE)
        # Read and written under one lock, or two commands could each undo the other's change.
        with transaction.atomic():
            locked(org.pk)
            policy = _the_policy(org, options["name"])
            form = _checked(org, _values(policy) | changes)
            operations.update_policy(
                organization_id=org.pk,
                policy_id=policy.pk,
                limits=form.limits(),
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
        values = _values(_the_policy(org, named)) if named else {"name": "this policy"}
        form = _checked(org, values | given(options, FIELDS))
        sentence = policy_sentence(form.limits(), names_in(org.pk, [form.applies_to()]))
        known = known_models(org.pk)
        report = backtest(
            organization_id=org.pk,
            zone=ZoneInfo(org.timezone),
            rule=rule_of(form.limits(), known.catalog),
            known=known,
            moment=now(),
            days=options["days"],
        )
        if options["format"] == "json":
            found = {"policy": sentence, **backtest_as_json(report)}
            self.stdout.write(json.dumps(found, indent=2))
            return
        self.stdout.write(sentence)
        self.stdout.write(backtest_sentence(report))
        for example in report.examples:
            moment = example.occurred_at.isoformat(timespec="seconds")
            self.stdout.write(f"  {moment}  {example.request_id}  {example.sentence}")

    def _warn(self, form: PolicyForm) -> None:
        limits = form.limits()
        entries = [*limits.allowed_models, *limits.blocked_models]
        if unknown := known_models(form.organization_of()).unknown(entries):
            self.stderr.write(f"Warning: unknown model: {', '.join(unknown)}")


def _add_limits(action: CommandParser) -> None:
    for option, field, metavar, what in LIMITS:
        kind = _one_per_line if field in LISTS else str
        action.add_argument(option, dest=field, metavar=metavar, help=what, type=kind)


def _one_per_line(text: str) -> str:
    return text.replace(",", "\n")


def _checked(org: Organization, values: dict[str, Any]) -> PolicyForm:
    return checked(PolicyForm(as_typed(values), organization_id=org.pk))


def _values(policy: Policy) -> dict[str, Any]:
    return policy_values(policy, names_in(policy.org_id, [policy.applies_to]))


def _the_policy(org: Organization, name: str) -> Policy:
    return the_named(Policy.objects, org, name, what="policy")


def _row(policy: Policy, names: PolicyNames) -> dict[str, Any]:
    return {
        "name": policy.name,
        "mode": policy.mode,
        "applies_to": names.typed(policy.applies_to),
        "allowed_models": policy.allowed_models,
        "blocked_models": policy.blocked_models,
        "max_cost_per_day_eur": eur_or_none(policy.max_cost_per_day_nanoeur),
        "max_cost_per_session_eur": eur_or_none(policy.max_cost_per_session_nanoeur),
        "max_tokens_per_request": policy.max_tokens_per_request,
        "max_output_tokens": policy.max_output_tokens,
        "requests_per_minute": policy.requests_per_minute,
        "tokens_per_minute": policy.tokens_per_minute,
        "concurrent_requests": policy.concurrent_requests,
        "wait_s": policy.wait_s,
        "hold": policy.hold,
        "web_searches_per_request": policy.web_searches_per_request,
        "required_dimensions": policy.required_dimensions,
        "known_values": policy.known_values,
        "id": str(policy.pk),
    }


def _as_text(row: dict[str, Any]) -> dict[str, Any]:
    known = {WORDS[name]: ", ".join(values) for name, values in row["known_values"].items()}
    named = {NAMED_WORDS[name]: ", ".join(values) for name, values in row["applies_to"].items()}
    return row | {"known_values": known, "applies_to": named}


def _without_empty(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows without the columns that are empty in all of them."""
    used = {name for row in rows for name, value in row.items() if value not in (None, "", [])}
    return [{name: value for name, value in row.items() if name in used} for row in rows]
