"""The pages of policies. Everybody in the organization sees them, admins change them."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from gateway import operations, reports
from gateway.forms import PolicyForm, policy_values
from gateway.models import Policy
from gateway.policy_words import names_of_no_model, policy_sentence
from gateway.providers.catalog import load_catalog
from orgs.access import admin, get_or_404, viewer
from orgs.errors import Missing, OrgsError
from orgs.forms import show_refusal


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """A policy as the list shows it."""

    policy: Policy
    sentence: str


@login_required
@never_cache
@require_safe
def policies(request: HttpRequest) -> HttpResponse:
    """List the policies in the order in which they are judged."""
    access = viewer(request)
    found = reports.policies(organization_id=access.organization.pk)
    context = {
        "lines": [PolicyLine(policy, _sentence(policy)) for policy in found],
        "can_change": access.can_change,
    }
    return render(request, "gateway/policies.html", context)


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def create_policy(request: HttpRequest) -> HttpResponse:
    """Make a policy; it is in force from the next request on."""
    access = admin(request)
    form = PolicyForm(request.POST or None, label_suffix="")
    if request.method == "POST" and form.is_valid():
        try:
            policy = operations.create_policy(
                organization_id=access.organization.pk, limits=form.limits()
            )
        except OrgsError as refusal:
            show_refusal(form, refusal)
        else:
            return _saved(request, form, f'The policy "{policy.name}" is in force.')
    return render(request, "gateway/policy_form.html", {"form": form, "title": "New policy"})


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def edit_policy(request: HttpRequest, policy_id: str) -> HttpResponse:
    """Change a policy's name and limits."""
    access = admin(request)
    policy = get_or_404(access, Policy.objects.all(), policy_id)
    form = PolicyForm(request.POST or None, initial=policy_values(policy), label_suffix="")
    if request.method == "POST" and form.is_valid():
        limits = form.limits()
        try:
            operations.update_policy(
                organization_id=access.organization.pk, policy_id=policy.pk, limits=limits
            )
        except Missing as refusal:
            raise Http404 from refusal
        except OrgsError as refusal:
            show_refusal(form, refusal)
        else:
            return _saved(request, form, f'The policy "{limits.name}" is saved.')
    context = {"form": form, "title": "Edit policy", "policy": policy}
    return render(request, "gateway/policy_form.html", context)


@login_required
@require_POST
def toggle_policy(request: HttpRequest, policy_id: str) -> HttpResponse:
    """Turn a policy on or off, as the button said, whatever it has become meanwhile."""
    access = admin(request)
    policy = get_or_404(access, Policy.objects.all(), policy_id)
    enabled = request.POST.get("enabled") == "on"
    try:
        operations.set_policy_enabled(
            organization_id=access.organization.pk, policy_id=policy.pk, enabled=enabled
        )
    except Missing as refusal:
        raise Http404 from refusal
    state = "on: it is in force from the next request" if enabled else "off"
    messages.success(request, f'The policy "{policy.name}" is {state}.')
    return redirect("policies")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete_policy(request: HttpRequest, policy_id: str) -> HttpResponse:
    """Ask, then remove the policy."""
    access = admin(request)
    policy = get_or_404(access, Policy.objects.all(), policy_id)
    if request.method != "POST":
        context = {"policy": policy, "sentence": _sentence(policy)}
        return render(request, "gateway/policy_delete.html", context)
    operations.delete_policy(organization_id=access.organization.pk, policy_id=policy.pk)
    messages.success(request, f'The policy "{policy.name}" is deleted.')
    return redirect("policies")


def _saved(request: HttpRequest, form: PolicyForm, sentence: str) -> HttpResponse:
    """Say so, and warn of names that mean no known model: they may be slips."""
    messages.success(request, sentence)
    limits = form.limits()
    entries = [*limits.allowed_models, *limits.blocked_models]
    if unknown := names_of_no_model(entries, load_catalog(sandbox=settings.SANDBOX)):
        messages.warning(request, f"No known model is meant by: {', '.join(unknown)}.")
    return redirect("policies")


def _sentence(policy: Policy) -> str:
    return policy_sentence(
        allowed=policy.allowed_models,
        blocked=policy.blocked_models,
        max_cost_per_day_nanoeur=policy.max_cost_per_day_nanoeur,
        max_tokens_per_request=policy.max_tokens_per_request,
    )
