"""The pages of budgets. Everybody in the organization sees them, admins change them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.timezone import now

from costs.core.calendar.periods import local_day
from costs.core.money import format_eur
from costs.explorer.names import emails, values_used
from gateway.budgets import operations, reports
from gateway.budgets.forms import BudgetForm, budget_values
from gateway.budgets.pages import COLUMNS, budget_lines, budget_page, exported, people_in
from gateway.budgets.part_pages import parts_page
from gateway.budgets.parts.forms import RaiseForm
from gateway.budgets.parts.raises import remove_raise, set_raise
from gateway.budgets.parts.values import key_names_used
from gateway.budgets.sentences import budget_sentence
from gateway.models import Budget
from gateway.providers.known import known_models
from orgs.auth.access import Access, admin, get_or_404, id_parameter, viewer
from orgs.console.confirm import HtmxRequest, question
from orgs.console.exports import exported as file_of
from orgs.console.pages import action, download, form_page, question_page, read_page
from orgs.console.queries import takes
from orgs.console.refusals import missing_is_404, refusal_in
from orgs.console.switch import switched
from orgs.core.values import EMAIL_MAX_CHARS

BUDGETS_PER_PAGE: Final = 50
# How many days back values of calls are read, to be suggested in the form.
SUGGESTED_OF_DAYS: Final = 30
WANTED: Final = "value"  # whose part is looked for


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


@takes(WANTED)
@form_page
def budget(request: HttpRequest, budget_id: str) -> HttpResponse:
    """Show where a budget stands, day by day or by its parts; its form changes it."""
    access = admin(request) if request.method == "POST" else viewer(request)
    organization = access.organization
    found = get_or_404(access, Budget.objects.all(), budget_id)
    if request.method != "POST":
        return _page(request, access, found)
    form = _form(request.POST, found, people_in([found], organization_id=organization.pk))
    if form.is_valid():
        terms = form.terms()
        with refusal_in(form):
            operations.update_budget(
                organization_id=organization.pk, budget_id=found.pk, terms=terms
            )
            return _saved(request, form, found.pk, f'Budget "{terms.name}" saved.')
    return _page(request, access, found, form=form)


@form_page
def raise_limit(request: HttpRequest, budget_id: str) -> HttpResponse:
    """Raise the limit of one member, key or other value until a day; a faulty form is shown."""
    access = admin(request)
    found = get_or_404(access, Budget.objects.exclude(each=""), budget_id)
    of = access.organization.pk
    form = RaiseForm(request.POST or None, each=found.each, organization_id=of)
    if request.method == "POST" and form.is_valid():
        terms = form.terms()
        with refusal_in(form):
            set_raise(organization_id=of, budget_id=found.pk, terms=terms)
            limit, name = format_eur(terms.limit_nanoeur), request.POST["value"]
            messages.success(request, f"{name} has {limit} until {terms.until:%-d %B %Y}.")
            return redirect("budget", budget_id=found.pk)
    return _page(request, access, found, raising=form)


@action
def lower_limit(request: HttpRequest, budget_id: str) -> HttpResponse:
    """Give one member, key or other value the budget's own limit again."""
    access = admin(request)
    found = get_or_404(access, Budget.objects.exclude(each=""), budget_id)
    with missing_is_404():
        value = request.POST.get("value", "")
        remove_raise(organization_id=access.organization.pk, budget_id=found.pk, value=value)
    messages.success(request, "The budget's own limit applies again.")
    return redirect("budget", budget_id=found.pk)


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


def _form(data: Mapping[str, Any] | None, budget: Budget, people: Mapping[str, str]) -> BudgetForm:
    initial = budget_values(budget, people)
    return BudgetForm(data, organization_id=budget.org_id, initial=initial)


def _page(
    request: HttpRequest,
    access: Access,
    budget: Budget,
    *,
    form: BudgetForm | None = None,
    raising: RaiseForm | None = None,
) -> HttpResponse:
    """Return the page of a budget with the forms that were sent, or with new ones."""
    organization, moment = access.organization, now()
    people = people_in([budget], organization_id=organization.pk)
    page = budget_page(organization, moment, budget, people)
    wanted = request.GET.get(WANTED, "")[:EMAIL_MAX_CHARS]
    status = page.line.status
    context: dict[str, Any] = {
        "page": page,
        "parts": parts_page(organization, budget, status, wanted=wanted, now=moment),
        "form": form or _form(None, budget, people),
        "can_change": access.can_change,
    }
    if access.can_change:
        context |= _suggestions(access, each=budget.each)
        if budget.each:
            of = organization.pk
            context["raising"] = raising or RaiseForm(each=budget.each, organization_id=of)
    return render(request, "budgets/budget.html", context)


def _pages(access: Access) -> Iterator[list[dict[str, Any]]]:
    organization, after = access.organization, None
    while found := reports.budgets(
        organization_id=organization.pk, newer_than=after, limit=BUDGETS_PER_PAGE
    ):
        yield [exported(line) for line in budget_lines(organization, now(), found)]
        after = found[-1].pk


def _suggestions(access: Access, *, each: str = "") -> dict[str, Any]:
    """Return the forms' suggestions: the known models, values of recent calls, names of keys."""
    organization = access.organization
    today = local_day(now(), ZoneInfo(organization.timezone))
    used = values_used(
        organization_id=organization.pk, since=today - timedelta(days=SUGGESTED_OF_DAYS)
    )
    members = emails(organization_id=organization.pk, user_ids=used["user_id"])
    used["user_id"] = [members.get(user_id, user_id) for user_id in used["user_id"]]
    if each == "key_id":
        used[each] = key_names_used(organization_id=organization.pk)
    return {
        "suggestions": [(f"known-{name}", values) for name, values in used.items()],
        "models": known_models(organization.pk).names,
    }


def _saved(request: HttpRequest, form: BudgetForm, budget_id: UUID, sentence: str) -> HttpResponse:
    """Report success, and warn of unknown models: they may be typing errors."""
    messages.success(request, sentence)
    if unknown := known_models(form.organization_id).unknown(form.terms().models):
        messages.warning(request, f"Unknown model: {', '.join(unknown)}.")
    return redirect("budget", budget_id=budget_id)
