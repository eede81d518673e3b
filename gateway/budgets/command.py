"""`manage.py budgets`: makes, lists, shows, changes and removes an organization's budgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.db import transaction
from django.utils.timezone import now

from costs.core.periods import BudgetWindow
from gateway.budgets import operations as budget_operations
from gateway.budgets import reports
from gateway.budgets.forms import HARD, WARNING, BudgetForm, budget_values
from gateway.budgets.pages import BudgetLine, budget_lines
from gateway.budgets.words import DIMENSION_WORDS
from gateway.console.fields import plain_eur
from gateway.console.sentences import names_of_no_model
from gateway.models import Budget
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

# option, the form's field, what it is
OF = (
    *(
        (f"--{word.replace(' ', '-')}", name, f"of calls of this {word}")
        for name, word in DIMENSION_WORDS.items()
    ),
    ("--models", "models", "of calls to these models"),
)


class Command(ActionCommand):
    help = (
        "Makes, lists, shows, changes and removes budgets: what some calls may cost in a day, "
        "week, month or quarter. A change holds from the next request on."
    )

    def actions(self, add: Callable[..., CommandParser]) -> None:
        create = add("create", self.create, help="make a budget; it is on")
        _add_budget(create)
        _add_terms(create, needed=True)
        listing = add("list", self.list, help="list an organization's budgets and where each is")
        listing.add_argument("slug", metavar="SLUG", help="the organization")
        add_format(listing)
        show = add("show", self.show, help="show one budget")
        _add_budget(show)
        add_format(show)
        update = add("update", self.update, help="change what is given and leave the rest")
        _add_budget(update)
        update.add_argument("--rename", metavar="NAME", help="its new name")
        _add_terms(update, needed=False)
        for option, field, _ in OF:
            update.add_argument(
                option.replace("--", "--no-", 1),
                dest=f"no_{field}",
                action="store_true",
                help=f"be of any, whatever {option} says",
            )
        _add_budget(add("enable", self.enable, help="turn a budget on; it counts what it missed"))
        _add_budget(add("disable", self.disable, help="turn a budget off"))
        _add_budget(add("delete", self.delete, help="remove a budget for good"))

    def create(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        form = _checked(org, {"when_full": HARD, **_given(options), "name": options["name"]})
        budget = budget_operations.create_budget(organization_id=org.pk, terms=form.terms())
        self._warn(form)
        self.stdout.write(f'Made the budget "{budget.name}" of {org.slug}; it is on.')

    def list(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        budgets = reports.budgets(organization_id=org.pk)
        rows = [_row(line, options["format"]) for line in budget_lines(org, now(), budgets)]
        write_rows(self.stdout, rows, format=options["format"])

    def show(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        (line,) = budget_lines(org, now(), [_the_budget(org, options["name"])])
        row = _row(line, options["format"])
        if options["format"] == "json":
            write_rows(self.stdout, [row], format="json")
            return
        self.stdout.write(line.sentence)
        facts = [{"what": name, "is": value} for name, value in row.items()]
        write_rows(self.stdout, facts, format="text")

    def update(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        changes = _changes(options)
        if not changes:
            raise Invalid("Say what to change; see --help")
        # Read and written under one lock, or two commands could each undo the other's change.
        with transaction.atomic():
            locked(org.pk)
            budget = _the_budget(org, options["name"])
            form = _checked(org, budget_values(budget) | changes)
            budget_operations.update_budget(
                organization_id=org.pk, budget_id=budget.pk, terms=form.terms()
            )
        self._warn(form)
        self.stdout.write(f'Changed the budget "{form.terms().name}" of {org.slug}.')

    def enable(self, options: dict[str, Any]) -> None:
        self._switch(options, enabled=True)

    def disable(self, options: dict[str, Any]) -> None:
        self._switch(options, enabled=False)

    def delete(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        budget = _the_budget(org, options["name"])
        budget_operations.delete_budget(organization_id=org.pk, budget_id=budget.pk)
        self.stdout.write(f'Deleted the budget "{budget.name}" of {org.slug}.')

    def _switch(self, options: dict[str, Any], *, enabled: bool) -> None:
        org = organization(options["slug"])
        budget = _the_budget(org, options["name"])
        budget_operations.set_budget_enabled(
            organization_id=org.pk, budget_id=budget.pk, enabled=enabled
        )
        self.stdout.write(
            f'The budget "{budget.name}" of {org.slug} is {"on" if enabled else "off"}.'
        )

    def _warn(self, form: BudgetForm) -> None:
        catalog = load_catalog(sandbox=settings.SANDBOX)
        if unknown := names_of_no_model(form.terms().models, catalog):
            self.stderr.write(f"Warning: no known model is meant by: {', '.join(unknown)}")


def _add_budget(action: CommandParser) -> None:
    action.add_argument("slug", metavar="SLUG", help="the organization")
    action.add_argument("name", metavar="NAME", help="the budget")


def _add_terms(action: CommandParser, *, needed: bool) -> None:
    action.add_argument(
        "--limit", dest="limit_eur", metavar="EUR", required=needed, help="what the calls may cost"
    )
    spans = [span.value for span in BudgetWindow]
    action.add_argument(
        "--per", dest="span", choices=spans, required=needed, help="how long the limit counts"
    )
    full = action.add_mutually_exclusive_group()
    full.add_argument(
        "--hard",
        dest="when_full",
        action="store_const",
        const=HARD,
        help="refuse calls that could pass the limit; so it is unless --warn is given",
    )
    full.add_argument(
        "--warn",
        dest="when_full",
        action="store_const",
        const=WARNING,
        help="count, and refuse nothing",
    )
    for option, field, what in OF:
        metavar = "M,…" if field == "models" else "ID"
        action.add_argument(option, dest=field, metavar=metavar, help=what)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    fields = ("limit_eur", "span", "when_full", *(field for _, field, _ in OF))
    return {field: options[field] for field in fields if options[field] is not None}


def _changes(options: dict[str, Any]) -> dict[str, Any]:
    changes = _given(options)
    for option, field, _ in OF:
        if options[f"no_{field}"]:
            if field in changes:
                raise Invalid(f"{option} and its --no- form exclude each other")
            changes[field] = ""
    if options["rename"] is not None:
        changes["name"] = options["rename"]
    return changes


def _checked(org: Organization, values: dict[str, Any]) -> BudgetForm:
    return checked(BudgetForm(as_typed(values), organization_id=org.pk))


def _the_budget(org: Organization, name: str) -> Budget:
    budget = Budget.objects.filter(org=org, name__iexact=name.strip()).first()
    if budget is None:
        raise Missing(f'{org.slug} has no budget "{name}"')
    return budget


def _row(line: BudgetLine, format: str) -> dict[str, Any]:
    budget, status, ahead = line.budget, line.status, line.status.forecast
    is_text = format == "text"
    said = {name: value for name in DIMENSION_WORDS if (value := getattr(budget, name))}
    return {
        "name": budget.name,
        "enabled": budget.enabled,
        "limit_eur": plain_eur(budget.limit_nanoeur),
        "per": budget.span,
        "hard": budget.is_hard,
        **({"of": line.calls} if is_text else {"of": said, "models": budget.models}),
        "spent_eur": plain_eur(status.charged_nanoeur),
        "held_eur": plain_eur(status.held_nanoeur),
        "left_eur": plain_eur(status.left_nanoeur),
        "forecast_eur": None if ahead is None else plain_eur(ahead.expected_nanoeur),
        "outlook": line.outlook.word,
        "full_on": None if status.full_on is None else f"{status.full_on}",
        "id": str(budget.pk),
    }
