"""`manage.py budgets`: makes, lists, shows, changes and removes an organization's budgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction
from django.utils.timezone import now

from costs.core.periods import BudgetWindow
from gateway.budgets import operations, reports
from gateway.budgets.forms import HARD, WARNING, BudgetForm, budget_values
from gateway.budgets.pages import BudgetLine, budget_lines
from gateway.budgets.words import DIMENSION_WORDS
from gateway.console.fields import plain_eur
from gateway.models import Budget
from gateway.providers.catalog import names_of_no_model
from orgs.console.commands import (
    ActionCommand,
    add_format,
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

# option, the form's field, what it is
OF = (
    *(
        (f"--{word.replace(' ', '-')}", name, f"of calls of this {word}")
        for name, word in DIMENSION_WORDS.items()
    ),
    ("--models", "models", "of calls to these models"),
)
FIELDS = ("limit_eur", "span", "when_full", *(field for _, field, _ in OF))


class Command(ActionCommand):
    help = (
        "Makes, lists, shows, changes and removes budgets: what some calls may cost in a day, "
        "week, month or quarter. A change holds from the next request on."
    )

    def actions(self, add: Callable[..., CommandParser]) -> None:
        create = add("create", self.create, help="make a budget; it is on")
        add_named(create, "budget")
        _add_terms(create, needed=True)
        add_report(add("list", self.list, help="list an organization's budgets and where each is"))
        show = add("show", self.show, help="show one budget")
        add_named(show, "budget")
        add_format(show)
        update = add("update", self.update, help="change what is given and leave the rest")
        add_named(update, "budget")
        update.add_argument("--rename", metavar="NAME", help="its new name")
        _add_terms(update, needed=False)
        add_removals(update, OF, help="be of any, whatever {} says")
        enable = add("enable", self.switch, help="turn a budget on; it counts what it missed")
        disable = add("disable", self.switch, help="turn a budget off")
        delete = add("delete", self.delete, help="remove a budget for good")
        for action in (enable, disable, delete):
            add_named(action, "budget")
        enable.set_defaults(enabled=True)
        disable.set_defaults(enabled=False)

    def create(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        form = _checked(org, {"when_full": HARD, **given(options, FIELDS), "name": options["name"]})
        budget = operations.create_budget(organization_id=org.pk, terms=form.terms())
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
        changes = changes_in(options, FIELDS, removable=OF)
        # Read and written under one lock, or two commands could each undo the other's change.
        with transaction.atomic():
            locked(org.pk)
            budget = _the_budget(org, options["name"])
            form = _checked(org, budget_values(budget) | changes)
            operations.update_budget(
                organization_id=org.pk, budget_id=budget.pk, terms=form.terms()
            )
        self._warn(form)
        self.stdout.write(f'Changed the budget "{form.terms().name}" of {org.slug}.')

    def delete(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        budget = _the_budget(org, options["name"])
        operations.delete_budget(organization_id=org.pk, budget_id=budget.pk)
        self.stdout.write(f'Deleted the budget "{budget.name}" of {org.slug}.')

    def switch(self, options: dict[str, Any]) -> None:
        org, enabled = organization(options["slug"]), options["enabled"]
        budget = _the_budget(org, options["name"])
        operations.update_budget(organization_id=org.pk, budget_id=budget.pk, enabled=enabled)
        self.stdout.write(
            f'The budget "{budget.name}" of {org.slug} is {"on" if enabled else "off"}.'
        )

    def _warn(self, form: BudgetForm) -> None:
        if unknown := names_of_no_model(form.terms().models):
            self.stderr.write(f"Warning: no known model is meant by: {', '.join(unknown)}")


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


def _checked(org: Organization, values: dict[str, Any]) -> BudgetForm:
    return checked(BudgetForm(as_typed(values), organization_id=org.pk))


def _the_budget(org: Organization, name: str) -> Budget:
    return the_named(Budget.objects, org, name, what="budget")


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
