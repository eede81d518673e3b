"""`manage.py budgets`: create, list, show, update and delete an organization's budgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction
from django.utils.timezone import now

from costs.core.calendar.periods import BudgetWindow
from costs.core.money import format_eur
from gateway.budgets import operations, reports
from gateway.budgets.forms import HARD, WARNING, BudgetForm, budget_values
from gateway.budgets.pages import BudgetLine, budget_lines
from gateway.budgets.part_pages import PartsPage, parts_page
from gateway.budgets.parts.forms import RaiseForm
from gateway.budgets.parts.raises import remove_raise, set_raise
from gateway.budgets.parts.values import value_named
from gateway.budgets.sentences import DIMENSION_WORDS
from gateway.console.fields import HOLD_HELP, plain_eur
from gateway.guards.budgets import EACH
from gateway.guards.policies import HoldMode
from gateway.models import Budget
from gateway.providers.known import known_models
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
from orgs.core.errors import Invalid
from orgs.locking import locked
from orgs.models import Organization

# option, the form's field, what it is
OF = (
    *(
        (f"--{word.replace(' ', '-')}", name, f"applies to calls of this {word}")
        for name, word in DIMENSION_WORDS.items()
    ),
    ("--models", "models", "applies to calls to these models"),
)
EACH_OPTION = ("--each", "each")
FIELDS = ("limit_eur", "span", "each", "when_full", "hold", *(field for _, field, _ in OF))
# What each dimension is called in the option.
EACH_NAMES = {word.replace(" ", "-"): name for name, word in EACH.items()}


class Command(ActionCommand):
    help = (
        "Create, list, show, update and delete budgets: spending limits per day, week, month or "
        "quarter. Changes apply from the next request."
    )

    def actions(self, add: Callable[..., CommandParser]) -> None:
        create = add("create", self.create, help="create a budget; it is enabled")
        add_named(create, "budget")
        _add_terms(create, needed=True)
        add_report(add("list", self.list, help="list an organization's budgets and their status"))
        show = add("show", self.show, help="show one budget")
        add_named(show, "budget")
        add_format(show)
        update = add("update", self.update, help="change the given options and keep the rest")
        add_named(update, "budget")
        update.add_argument("--rename", metavar="NAME", help="the new name")
        _add_terms(update, needed=False)
        add_removals(update, OF, help="match any value; removes {}")
        add_removals(update, [EACH_OPTION], help="limit all these calls together; removes {}")
        enable = add(
            "enable", self.switch, help="enable a budget; spending while it was off is counted"
        )
        disable = add("disable", self.switch, help="disable a budget")
        raise_ = add(
            "raise", self.raise_limit, help="raise the limit of one member, key or other value"
        )
        add_named(raise_, "budget")
        raise_.add_argument(
            "--to", dest="limit_eur", metavar="EUR", required=True, help="the limit until then"
        )
        raise_.add_argument("--until", metavar="DATE", required=True, help="its last day")
        lower = add("lower", self.lower, help="remove a raised limit")
        add_named(lower, "budget")
        for action in (raise_, lower):
            action.add_argument(
                "--for", dest="value", metavar="VALUE", required=True, help="whose limit"
            )
        delete = add("delete", self.delete, help="delete a budget")
        for action in (enable, disable, delete):
            add_named(action, "budget")
        enable.set_defaults(enabled=True)
        disable.set_defaults(enabled=False)

    def create(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        form = _checked(org, {"when_full": HARD, **given(options, FIELDS), "name": options["name"]})
        budget = operations.create_budget(organization_id=org.pk, terms=form.terms())
        self._warn(form)
        self.stdout.write(f'Created budget "{budget.name}" of {org.slug}; it is enabled.')

    def list(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        budgets = reports.budgets(organization_id=org.pk)
        rows = [_row(line, options["format"]) for line in budget_lines(org, now(), budgets)]
        write_rows(self.stdout, rows, format=options["format"])

    def show(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        budget, moment = _the_budget(org, options["name"]), now()
        (line,) = budget_lines(org, moment, [budget])
        parts = parts_page(org, budget, line.status, wanted="", now=moment)
        of_parts = _rows_of_parts(parts) if parts else {}
        row = _row(line, options["format"])
        if options["format"] == "json":
            write_rows(self.stdout, [row | of_parts], format="json")
            return
        self.stdout.write(line.sentence)
        facts = [{"what": name, "is": value} for name, value in row.items()]
        write_rows(self.stdout, facts, format="text")
        for name, rows in of_parts.items():
            self.stdout.write(f"\n{name}:")
            write_rows(self.stdout, rows, format="text")

    def update(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        changes = changes_in(options, FIELDS, removable=(*OF, EACH_OPTION))
        # Read and written under one lock, or two commands could each undo the other's change.
        with transaction.atomic():
            locked(org.pk)
            budget = _the_budget(org, options["name"])
            form = _checked(org, changes, initial=budget_values(budget))
            operations.update_budget(
                organization_id=org.pk, budget_id=budget.pk, terms=form.terms()
            )
        self._warn(form)
        self.stdout.write(f'Updated budget "{form.terms().name}" of {org.slug}.')

    def raise_limit(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        budget = _with_parts(org, options["name"])
        fields = given(options, ("value", "limit_eur", "until"))
        terms = checked(RaiseForm(fields, each=budget.each, organization_id=org.pk)).terms()
        set_raise(organization_id=org.pk, budget_id=budget.pk, terms=terms)
        limit = f"{format_eur(terms.limit_nanoeur)} until {terms.until}"
        self.stdout.write(f'{options["value"]} has {limit} in budget "{budget.name}".')

    def lower(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        budget = _with_parts(org, options["name"])
        value = value_named(options["value"], each=budget.each, organization_id=org.pk)
        remove_raise(organization_id=org.pk, budget_id=budget.pk, value=value)
        limit = format_eur(budget.limit_nanoeur)
        self.stdout.write(f'{options["value"]} has {limit} in budget "{budget.name}" again.')

    def delete(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        budget = _the_budget(org, options["name"])
        operations.delete_budget(organization_id=org.pk, budget_id=budget.pk)
        self.stdout.write(f'Deleted budget "{budget.name}" of {org.slug}.')

    def switch(self, options: dict[str, Any]) -> None:
        org, enabled = organization(options["slug"]), options["enabled"]
        budget = _the_budget(org, options["name"])
        operations.update_budget(organization_id=org.pk, budget_id=budget.pk, enabled=enabled)
        self.stdout.write(f'Budget "{budget.name}" of {org.slug} is {"on" if enabled else "off"}.')

    def _warn(self, form: BudgetForm) -> None:
        if unknown := known_models(form.organization_id).unknown(form.terms().models):
            self.stderr.write(f"Warning: unknown model: {', '.join(unknown)}")


def _add_terms(action: CommandParser, *, needed: bool) -> None:
    action.add_argument(
        "--limit", dest="limit_eur", metavar="EUR", required=needed, help="the maximum cost"
    )
    windows = [window.value for window in BudgetWindow]
    action.add_argument(
        "--per", dest="span", choices=windows, required=needed, help="the period of the limit"
    )
    action.add_argument(
        "--each",
        choices=[*EACH_NAMES],
        metavar="|".join(EACH_NAMES),
        help="limit each of these for itself, such as each member",
    )
    full = action.add_mutually_exclusive_group()
    full.add_argument(
        "--hard",
        dest="when_full",
        action="store_const",
        const=HARD,
        help="block calls that could exceed the limit (the default)",
    )
    full.add_argument(
        "--warn",
        dest="when_full",
        action="store_const",
        const=WARNING,
        help="warn only; block nothing",
    )
    action.add_argument(
        "--hold",
        choices=[hold.value for hold in HoldMode],
        help=HOLD_HELP,
    )
    for option, field, what in OF:
        metavar = "M,…" if field == "models" else "ID"
        action.add_argument(option, dest=field, metavar=metavar, help=what)


def _checked(
    org: Organization, values: dict[str, Any], initial: dict[str, Any] | None = None
) -> BudgetForm:
    each = values.get("each")
    named = {"each": EACH_NAMES[each]} if each else {}
    typed = as_typed((initial or {}) | values | named)
    return checked(BudgetForm(typed, organization_id=org.pk, initial=initial))


def _the_budget(org: Organization, name: str) -> Budget:
    return the_named(Budget.objects, org, name, what="budget")


def _rows_of_parts(parts: PartsPage) -> dict[str, list[dict[str, Any]]]:
    """Return the fullest parts, and the raised limits."""
    fullest = [
        {
            parts.word: each.name or None,
            "limit_eur": plain_eur(each.status.limit_nanoeur),
            "spent_eur": plain_eur(each.status.charged_nanoeur),
            "held_eur": plain_eur(each.status.held_nanoeur),
            "left_eur": plain_eur(each.status.left_nanoeur),
        }
        for each in parts.fullest
    ]
    raised = [
        {
            parts.word: each.name,
            "limit_eur": plain_eur(each.row.limit_nanoeur),
            "until": f"{each.row.until}",
        }
        for each in parts.raises
    ]
    return {"fullest": fullest, "raised": raised}


def _with_parts(org: Organization, name: str) -> Budget:
    budget = _the_budget(org, name)
    if not budget.each:
        raise Invalid(f'Budget "{budget.name}" limits all its calls together; see --each')
    return budget


def _row(line: BudgetLine, format: str) -> dict[str, Any]:
    budget, status, ahead = line.budget, line.status, line.status.forecast
    is_text = format == "text"
    dimensions = {name: value for name in DIMENSION_WORDS if (value := getattr(budget, name))}
    return {
        "name": budget.name,
        "enabled": budget.enabled,
        "limit_eur": plain_eur(budget.limit_nanoeur),
        "per": budget.span,
        "each": line.each or None,
        "hard": budget.is_hard,
        "hold": budget.hold,
        **({"of": line.calls} if is_text else {"of": dimensions, "models": budget.models}),
        "spent_eur": plain_eur(status.charged_nanoeur),
        "held_eur": plain_eur(status.held_nanoeur),
        "left_eur": None if budget.each else plain_eur(status.left_nanoeur),
        "forecast_eur": None if ahead is None else plain_eur(ahead.expected_nanoeur),
        "outlook": line.outlook.word,
        "full_on": None if status.full_on is None else f"{status.full_on}",
        "id": str(budget.pk),
    }
