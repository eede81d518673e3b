"""The pages of policies. Everybody in the organization sees them, admins change them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.timezone import now

from costs.core.calendar.periods import day_around
from costs.explorer.charts import share_width
from gateway.console.dimensions import KNOWN_PARAMETERS
from gateway.console.fields import plain_eur
from gateway.core.errors import Refused
from gateway.core.request_body import NAME_IN_JSON
from gateway.models import Policy
from gateway.policies import operations, reports
from gateway.policies.effect import policy_effect_of
from gateway.policies.forms import PolicyForm, policy_values
from gateway.policies.reports import RefusedToday, SpendToday
from gateway.policies.sentences import limits_sentence
from gateway.providers.catalog import load_catalog, names_of_no_model
from orgs.auth.access import Access, admin, get_or_404, viewer
from orgs.console.confirm import HtmxRequest, question
from orgs.console.exports import exported
from orgs.console.pages import action, download, form_page, question_page, read_page
from orgs.console.refusals import refusal_in
from orgs.console.switch import switched

COLUMNS: Final = (
    *("policyId", "name", "enabled", "allowedModels", "blockedModels", "maxCostPerDayEur"),
    *("maxTokensPerRequest", "maxOutputTokens", "refusedToday", "requiredDimensions"),
    *("knownTeams", "knownProjects", "knownApps", "knownClients", "knownTaskTypes"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLine:
    """A policy as the list shows it; `used_percent` is None without a limit of the day."""

    policy: Policy
    sentence: str
    used_percent: str | None
    held_percent: str | None
    refused_today: int


@read_page
def policies(request: HttpRequest) -> HttpResponse:
    """List the policies in the order in which they are judged."""
    access = viewer(request)
    organization, moment = access.organization, now()
    refused = _refused_today(access, moment)
    spend = reports.spend_today(organization_id=organization.pk, moment=moment)
    found = reports.policies(organization_id=organization.pk)
    context = {
        "lines": [_line(policy, spend, refused) for policy in found],
        "spend": spend,
        "is_cut": refused.is_cut,
        "can_change": access.can_change,
    }
    return render(request, "policies/list.html", context)


@download
def export_policies(request: HttpRequest, format: str) -> StreamingHttpResponse:
    """Send the policies as a file."""
    access = viewer(request)
    refused = _refused_today(access, now()).by_policy
    found = reports.policies(organization_id=access.organization.pk)
    rows = [[_exported(policy, refused.get(str(policy.pk), 0)) for policy in found]]
    return exported(request, rows, columns=COLUMNS, name="policies", format=format)


@form_page
def create_policy(request: HttpRequest) -> HttpResponse:
    """Make a policy; it applies from the next request."""
    access = admin(request)
    form = PolicyForm(request.POST or None, label_suffix="")
    if request.method == "POST" and not _only_asks(request) and form.is_valid():
        with refusal_in(form):
            policy = operations.create_policy(
                organization_id=access.organization.pk, limits=form.limits()
            )
            return _saved(request, form, f'Policy "{policy.name}" is active.')
    return _form_page(request, access, form, title="New policy")


@form_page
def edit_policy(request: HttpRequest, policy_id: str) -> HttpResponse:
    """Change a policy's name and limits."""
    access = admin(request)
    policy = get_or_404(access, Policy.objects.all(), policy_id)
    form = PolicyForm(request.POST or None, initial=policy_values(policy), label_suffix="")
    if request.method == "POST" and not _only_asks(request) and form.is_valid():
        limits = form.limits()
        with refusal_in(form):
            operations.update_policy(
                organization_id=policy.org_id, policy_id=policy.pk, limits=limits
            )
            return _saved(request, form, f'Policy "{limits.name}" saved.')
    return _form_page(request, access, form, title="Edit policy")


@action
def policy_effect(request: HttpRequest) -> HttpResponse:
    """Show what the policy in the form would have done, beside the form; nothing is saved.

    A POST, since lists of models do not fit in every address.
    """
    access = admin(request)
    return _with_effect(
        request, "policies/_effect.html", policy_effect_of(access.organization, request.POST)
    )


@action
def toggle_policy(request: HttpRequest, policy_id: str) -> HttpResponse:
    """Turn a policy on or off as the button states, whatever its current state."""
    policy = get_or_404(admin(request), Policy.objects.all(), policy_id)
    enabled = switched(
        request, operations.update_policy, organization_id=policy.org_id, policy_id=policy.pk
    )
    state = "on and applies from the next request" if enabled else "off"
    messages.success(request, f'Policy "{policy.name}" is {state}.')
    return redirect("policies")


@question_page
def delete_policy(request: HtmxRequest, policy_id: str) -> HttpResponse:
    """Ask, then remove the policy."""
    policy = get_or_404(admin(request), Policy.objects.all(), policy_id)
    if request.method != "POST":
        context = {"policy": policy, "sentence": limits_sentence(policy)}
        return question(request, "policies/delete.html", context)
    operations.delete_policy(organization_id=policy.org_id, policy_id=policy.pk)
    messages.success(request, f'Policy "{policy.name}" deleted.')
    return redirect("policies")


def _only_asks(request: HttpRequest) -> bool:
    """Whether the form was sent without scripts to see what it would do."""
    return "effect" in request.POST


def _form_page(
    request: HttpRequest, access: Access, form: PolicyForm, *, title: str
) -> HttpResponse:
    catalog = load_catalog(sandbox=settings.SANDBOX)
    typed = request.POST if request.method == "POST" else _as_typed(form)
    # A page that waited for the past would come late; with scripts it follows by itself.
    judge = _only_asks(request)
    context = policy_effect_of(access.organization, typed, judge=judge) | {
        "form": form,
        "title": title,
        "models": sorted({model.id for model in catalog.by_name.values()}),
    }
    return _with_effect(request, "policies/form.html", context)


def _with_effect(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """Return a page with a policy's effect: 429 if other backtests are running."""
    refusal: Refused | None = context.get("refusal")
    if refusal is None:
        return render(request, template, context)
    response = render(request, template, context, status=refusal.status)
    response["Retry-After"] = str(refusal.retry_after_s)
    return response


def _as_typed(form: PolicyForm) -> dict[str, Any]:
    """Return the form's first values as a browser would send them."""
    typed = {name: form[name].value() for name in form.fields}
    return {name: "" if value is None else value for name, value in typed.items()}


def _saved(request: HttpRequest, form: PolicyForm, sentence: str) -> HttpResponse:
    """Report success, and warn of unknown models: they may be typing errors."""
    messages.success(request, sentence)
    limits = form.limits()
    entries = [*limits.allowed_models, *limits.blocked_models]
    if unknown := names_of_no_model(entries):
        messages.warning(request, f"Unknown model: {', '.join(unknown)}.")
    return redirect("policies")


def _line(policy: Policy, spend: SpendToday, refused: RefusedToday) -> PolicyLine:
    limit = policy.max_cost_per_day_nanoeur
    room = None if limit is None else max(0, limit - spend.charged_nanoeur)
    return PolicyLine(
        policy=policy,
        sentence=limits_sentence(policy),
        used_percent=None if limit is None else share_width(spend.charged_nanoeur, limit),
        held_percent=None
        if limit is None or room is None
        else share_width(min(room, spend.held_nanoeur), limit),
        refused_today=refused.by_policy.get(str(policy.pk), 0),
    )


def _refused_today(access: Access, moment: datetime) -> RefusedToday:
    organization = access.organization
    starts_at, _ = day_around(moment, ZoneInfo(organization.timezone))
    return reports.refused_since(organization_id=organization.pk, since=starts_at)


def _exported(policy: Policy, refused_today: int) -> dict[str, Any]:
    limit = policy.max_cost_per_day_nanoeur
    return {
        "policyId": str(policy.pk),
        "name": policy.name,
        "enabled": policy.enabled,
        "allowedModels": policy.allowed_models,
        "blockedModels": policy.blocked_models,
        "maxCostPerDayEur": None if limit is None else plain_eur(limit),
        "maxTokensPerRequest": policy.max_tokens_per_request,
        "maxOutputTokens": policy.max_output_tokens,
        "refusedToday": refused_today,
        "requiredDimensions": [NAME_IN_JSON[name] for name in policy.required_dimensions],
        **{
            parameter: policy.known_values.get(name, [])
            for name, parameter in KNOWN_PARAMETERS.items()
        },
    }
