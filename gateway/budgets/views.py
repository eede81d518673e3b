"""The pages of budgets. Everybody in the organization sees them, admins change them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.timezone import now

from costs.core.calendar.periods import local_day
from costs.explorer.names import emails, values_used
from gateway.budgets import operations, reports
from gateway.budgets.forms import BudgetForm, budget_values
from gateway.budgets.pages import COLUMNS, budget_lines, budget_page, exported, people_in
from gateway.budgets.sentences import DIMENSION_WORDS, budget_sentence
from gateway.models import Budget
from gateway.providers.catalog import load_catalog, names_of_no_model
from orgs.auth.access import Access, admin, get_or_404, id_parameter, viewer
from orgs.console.confirm import HtmxRequest, question
from orgs.console.exports import exported as file_of
from orgs.console.pages import action, download, form_page, question_page, read_page
from orgs.console.queries import takes
from orgs.console.refusals import refusal_in
from orgs.console.switch import switched

BUDGETS_PER_PAGE: Final = 50
# How many days back values of calls are read, to be suggested in the form.
SUGGESTED_OF_DAYS: Final = 30


@takes("newer_than")
@read_page
def budgets(request: HttpRequest) -> HttpResponse:
    """List the budgets in the order in which calls are held to them, and where each stands."""
    access = viewer(request)
    after = id_parameter(request, "newer_than")
    found = reports.budgets(
        organization_id=access.organization.pk, newer_than=after, limit=BUDGETS_PER_PAGE + 1
    )
    shown = found[:BUDGETS_PER_PAGE]
    context = {
        "lines": budget_lines(access.organization, now(), shown),
        "newer_than": shown[-1].pk if len(found) > len(shown) else None,
        "is_first": after is None,
        "can_change": access.can_change,
    }
    return render(request, "budgets/list.html", context)


@download
def export_budgets(request: HttpRequest, format: str) -> StreamingHttpResponse:
    """Send all budgets as a file."""
    access = viewer(request)
    return file_of(request, _pages(access), columns=COLUMNS, name="budgets", format=format)


@form_page
def create_budget(request: HttpRequest) -> HttpResponse:
    """Make a budget; it counts what was already spent in its current period."""
    access = admin(request)
    organization = access.organization
    form = BudgetForm(request.POST or None, organization_id=organization.pk)
    if request.method == "POST" and form.is_valid():
        with refusal_in(form):
            budget = operations.create_budget(organization_id=organization.pk, terms=form.terms())
            return _saved(request, form, budget.pk, f'Budget "{budget.name}" is active.')
    context = {"form": form, **_suggestions(access)}
    return render(request, "budgets/create.html", context)


@form_page
def budget(request: HttpRequest, budget_id: str) -> HttpResponse:
    """Show where a budget stands, day by day; its form changes it."""
    access = admin(request) if request.method == "POST" else viewer(request)
    organization = access.organization
    found = get_or_404(access, Budget.objects.all(), budget_id)
    people = people_in([found], organization_id=organization.pk)
    form = BudgetForm(
        request.POST or None, organization_id=organization.pk, initial=budget_values(found, people)
    )
    if request.method == "POST" and form.is_valid():
        terms = form.terms()
        with refusal_in(form):
            operations.update_budget(
                organization_id=organization.pk, budget_id=found.pk, terms=terms
            )
            return _saved(request, form, found.pk, f'Budget "{terms.name}" saved.')
    context = {
        "page": budget_page(organization, now(), found, people),
        "form": form,
        "can_change": access.can_change,
    }
    if access.can_change:
        context |= _suggestions(access)
    return render(request, "budgets/budget.html", context)


@action
def toggle_budget(request: HttpRequest, budget_id: str) -> HttpResponse:
    """Turn a budget on or off as the button states, whatever its current state."""
    budget = get_or_404(admin(request), Budget.objects.all(), budget_id)
    enabled = switched(
        request, operations.update_budget, organization_id=budget.org_id, budget_id=budget.pk
    )
    state = "on and includes spending while it was off" if enabled else "off"
    messages.success(request, f'Budget "{budget.name}" is {state}.')
    return redirect("budget", budget_id=budget.pk)


@question_page
def delete_budget(request: HtmxRequest, budget_id: str) -> HttpResponse:
    """Ask, then remove the budget."""
    budget = get_or_404(admin(request), Budget.objects.all(), budget_id)
    if request.method != "POST":
        people = people_in([budget], organization_id=budget.org_id)
        context = {"budget": budget, "sentence": budget_sentence(budget, people)}
        return question(request, "budgets/delete.html", context)
    operations.delete_budget(organization_id=budget.org_id, budget_id=budget.pk)
    messages.success(request, f'Budget "{budget.name}" deleted.')
    return redirect("budgets")


def _pages(access: Access) -> Iterator[list[dict[str, Any]]]:
    organization, after = access.organization, None
    while found := reports.budgets(
        organization_id=organization.pk, newer_than=after, limit=BUDGETS_PER_PAGE
    ):
        yield [exported(line) for line in budget_lines(organization, now(), found)]
        after = found[-1].pk


def _suggestions(access: Access) -> dict[str, Any]:
    """Return the form's suggestions: the known models, and values of recent calls."""
    organization = access.organization
    today = local_day(now(), ZoneInfo(organization.timezone))
    used = values_used(
        organization_id=organization.pk, since=today - timedelta(days=SUGGESTED_OF_DAYS)
    )
    members = emails(organization_id=organization.pk, user_ids=used["user_id"])
    used["user_id"] = [members.get(user_id, user_id) for user_id in used["user_id"]]
    catalog = load_catalog(sandbox=settings.SANDBOX)
    return {
        "suggestions": [(f"known-{name}", used[name]) for name in DIMENSION_WORDS],
        "models": sorted({model.id for model in catalog.by_name.values()}),
    }


def _saved(request: HttpRequest, form: BudgetForm, budget_id: UUID, sentence: str) -> HttpResponse:
    """Report success, and warn of unknown models: they may be typing errors."""
    messages.success(request, sentence)
    if unknown := names_of_no_model(form.terms().models):
        messages.warning(request, f"Unknown model: {', '.join(unknown)}.")
    return redirect("budget", budget_id=budget_id)
