"""The pages of policies. Everybody in the organization sees them, admins change them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.timezone import now

from costs.core.calendar.periods import day_around
from costs.explorer.charts import share_width
from costs.explorer.names import emails, values_used
from gateway.console.dimensions import KNOWN_PARAMETERS
from gateway.console.fields import eur_or_none
from gateway.core.errors import Refused
from gateway.core.request_body import NAME_IN_JSON
from gateway.guards.policies import PolicyMode
from gateway.models import Policy
from gateway.policies import operations, reports
from gateway.policies.applies_to import NAMED_FIELDS, NAMED_PARAMETERS
from gateway.policies.effect import policy_effect_of
from gateway.policies.forms import PolicyForm, policy_values
from gateway.policies.names import NamedValue, PolicyNames, names_in
from gateway.policies.reports import DaySpend, RefusedToday
from gateway.policies.sentences import policy_sentence, rates_of
from gateway.providers.known import known_models
from orgs.auth.access import Access, admin, get_or_404, viewer
from orgs.console.confirm import HtmxRequest, question
from orgs.console.exports import exported
from orgs.console.pages import action, download, form_page, question_page, read_page
from orgs.console.refusals import missing_is_404, refusal_in
from orgs.core.spelling import folded
from orgs.models import ApiKey

COLUMNS: Final = (
    *("policyId", "name", "mode", *NAMED_PARAMETERS.values(), "allowedModels", "blockedModels"),
    *("maxCostPerDayEur", "chargedTodayEur", "heldEur", "maxCostPerSessionEur"),
    *("maxTokensPerRequest", "maxOutputTokens", "webSearchesPerRequest"),
    *("requestsPerMinute", "tokensPerMinute", "concurrentRequests", "waitS", "hold"),
    *("refusedToday", "wouldHaveRefusedToday", "requiredDimensions"),
    *KNOWN_PARAMETERS.values(),
)
# Suggested where a policy names calls: keys, and what calls of these days have in dimensions.
KEYS_SUGGESTED_MAX: Final = 1_000
USED_WITHIN: Final = timedelta(days=90)
# Of what a policy names.
CHIPS_SHOWN: Final = 12
MODE_WORDS: Final = {PolicyMode.ON: "On", PolicyMode.WATCH: "Watch", PolicyMode.OFF: "Off"}
STATES: Final = {
    PolicyMode.ON: "active",
    PolicyMode.WATCH: "watched: it counts what it would refuse",
    PolicyMode.OFF: "off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLine:
    """A policy as the list shows it; `left_nanoeur` and the percents are None without a limit of
    the day.

    `has_no_valid_key` says that none of the keys that it names works any more.
    """

    policy: Policy
    sentence: str
    chips: list[NamedValue]
    more_chips: int
    has_no_valid_key: bool
    rates: list[str]
    spend: DaySpend
    left_nanoeur: int | None
    used_percent: str | None
    held_percent: str | None
    refused_today: int
    watched_today: int


@read_page
def policies(request: HttpRequest) -> HttpResponse:
    """List the policies in the order in which they are judged."""
    access = viewer(request)
    moment = now()
    refused, watched = _today(access, moment)
    context = {
        "lines": _lines(access, moment, refused, watched),
        "modes": [(mode.value, MODE_WORDS[mode]) for mode in PolicyMode],
        "is_cut": refused.is_cut,
        "is_watched_cut": watched.is_cut,
        "can_change": access.can_change,
    }
    return render(request, "policies/list.html", context)


@download
def export_policies(request: HttpRequest, format: str) -> StreamingHttpResponse:
    """Send the policies as a file."""
    access, moment = viewer(request), now()
    found = reports.policies(organization_id=access.organization.pk)
    names = names_in(access.organization.pk, [policy.applies_to for policy in found])
    lines = _lines(access, moment, *_today(access, moment))
    rows = [[_exported(line, names) for line in lines]]
    return exported(request, rows, columns=COLUMNS, name="policies", format=format)


@form_page
def create_policy(request: HttpRequest) -> HttpResponse:
    """Make a policy; it applies from the next request."""
    access = admin(request)
    form = PolicyForm(request.POST or None, organization_id=access.organization.pk)
    if request.method == "POST" and not _only_asks(request) and form.is_valid():
        with refusal_in(form):
            policy = operations.create_policy(
                organization_id=access.organization.pk, limits=form.limits()
            )
            state = STATES[PolicyMode(policy.mode)]
            return _saved(request, form, f'Policy "{policy.name}" is {state}.')
    return _form_page(request, access, form, title="New policy")


@form_page
def edit_policy(request: HttpRequest, policy_id: str) -> HttpResponse:
    """Change a policy's name and limits."""
    access = admin(request)
    policy = get_or_404(access, Policy.objects.all(), policy_id)
    names = names_in(policy.org_id, [policy.applies_to])
    form = PolicyForm(
        request.POST or None,
        initial=policy_values(policy, names),
        organization_id=policy.org_id,
    )
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
def set_mode(request: HttpRequest, policy_id: str) -> HttpResponse:
    """Turn a policy on, watch it or turn it off, as the button says, whatever its mode is."""
    policy = get_or_404(admin(request), Policy.objects.all(), policy_id)
    try:
        mode = PolicyMode(request.POST.get("mode", ""))
    except ValueError as exc:
        raise Http404 from exc
    with missing_is_404():
        operations.update_policy(organization_id=policy.org_id, policy_id=policy.pk, mode=mode)
    messages.success(request, f'Policy "{policy.name}" is {STATES[mode]}.')
    return redirect("policies")


@question_page
def delete_policy(request: HtmxRequest, policy_id: str) -> HttpResponse:
    """Ask, then remove the policy."""
    policy = get_or_404(admin(request), Policy.objects.all(), policy_id)
    if request.method != "POST":
        names = names_in(policy.org_id, [policy.applies_to])
        context = {"policy": policy, "sentence": policy_sentence(policy, names)}
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
    typed = request.POST if request.method == "POST" else _as_typed(form)
    # A page that waited for the past would come late; with scripts it follows by itself.
    judge = _only_asks(request)
    context = policy_effect_of(access.organization, typed, judge=judge) | {
        "form": form,
        "title": title,
        "models": known_models(access.organization.pk).names,
        "suggestions": _suggestions(access),
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
    if unknown := known_models(form.organization_of()).unknown(entries):
        messages.warning(request, f"Unknown model: {', '.join(unknown)}.")
    return redirect("policies")


def _suggestions(access: Access) -> list[tuple[str, list[str]]]:
    """Return what can be named, by the field."""
    organization = access.organization
    since = (now() - USED_WITHIN).date()
    used = values_used(organization_id=organization.pk, since=since)
    people = emails(organization_id=organization.pk, user_ids=used["user_id"])
    used["user_id"] = [people.get(value, value) for value in used["user_id"]]
    keys = ApiKey.objects.filter(org=organization, revoked_at=None).order_by("-id")
    names = keys.values_list("name", flat=True)[:KEYS_SUGGESTED_MAX]
    used["key_id"] = sorted(dict.fromkeys(names), key=folded)
    return [(field, used[name]) for name, field in NAMED_FIELDS.items() if name in used]


def _lines(
    access: Access, moment: datetime, refused: RefusedToday, watched: RefusedToday
) -> list[PolicyLine]:
    organization_id = access.organization.pk
    found = reports.policies(organization_id=organization_id)
    names = names_in(organization_id, [policy.applies_to for policy in found])
    spends = reports.spend_of(found, organization_id=organization_id, moment=moment)
    return [
        _line(policy, names, spends.get(policy.cost_scope, DaySpend()), refused, watched)
        for policy in found
    ]


def _line(
    policy: Policy,
    names: PolicyNames,
    spend: DaySpend,
    refused: RefusedToday,
    watched: RefusedToday,
) -> PolicyLine:
    limit, policy_id = policy.max_cost_per_day_nanoeur, str(policy.pk)
    chips = names.chips(policy.applies_to)
    room = None if limit is None else max(0, limit - spend.charged_nanoeur)
    held = None if room is None else min(room, spend.held_nanoeur)
    return PolicyLine(
        policy=policy,
        sentence=policy_sentence(policy, names),
        chips=chips[:CHIPS_SHOWN],
        more_chips=max(0, len(chips) - CHIPS_SHOWN),
        has_no_valid_key=names.has_no_valid_key(policy.applies_to),
        rates=rates_of(policy),
        spend=spend,
        left_nanoeur=None if room is None or held is None else room - held,
        used_percent=None if limit is None else share_width(spend.charged_nanoeur, limit),
        held_percent=None if limit is None or held is None else share_width(held, limit),
        refused_today=refused.by_policy.get(policy_id, 0),
        watched_today=watched.by_policy.get(policy_id, 0),
    )


def _today(access: Access, moment: datetime) -> tuple[RefusedToday, RefusedToday]:
    """Return what policies have refused today, and what watched ones would have."""
    organization = access.organization
    since, _ = day_around(moment, ZoneInfo(organization.timezone))
    return (
        reports.refused_since(organization_id=organization.pk, since=since),
        reports.watched_since(organization_id=organization.pk, since=since),
    )


def _exported(line: PolicyLine, names: PolicyNames) -> dict[str, Any]:
    policy, is_limited = line.policy, line.policy.max_cost_per_day_nanoeur is not None
    named = names.typed(policy.applies_to)
    return {
        "policyId": str(policy.pk),
        "name": policy.name,
        "mode": policy.mode,
        **{parameter: named.get(name, []) for name, parameter in NAMED_PARAMETERS.items()},
        "allowedModels": policy.allowed_models,
        "blockedModels": policy.blocked_models,
        "maxCostPerDayEur": eur_or_none(policy.max_cost_per_day_nanoeur),
        "chargedTodayEur": eur_or_none(line.spend.charged_nanoeur) if is_limited else None,
        "heldEur": eur_or_none(line.spend.held_nanoeur) if is_limited else None,
        "maxCostPerSessionEur": eur_or_none(policy.max_cost_per_session_nanoeur),
        "maxTokensPerRequest": policy.max_tokens_per_request,
        "maxOutputTokens": policy.max_output_tokens,
        "webSearchesPerRequest": policy.web_searches_per_request,
        "requestsPerMinute": policy.requests_per_minute,
        "tokensPerMinute": policy.tokens_per_minute,
        "concurrentRequests": policy.concurrent_requests,
        "waitS": policy.wait_s,
        "hold": policy.hold,
        "refusedToday": line.refused_today,
        "wouldHaveRefusedToday": line.watched_today,
        "requiredDimensions": [NAME_IN_JSON[name] for name in policy.required_dimensions],
        **{
            parameter: policy.known_values.get(name, [])
            for name, parameter in KNOWN_PARAMETERS.items()
        },
    }
