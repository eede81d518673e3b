"""The pages of aliases. Everybody in the organization sees them, admins change them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render

from gateway.aliases import operations, reports
from gateway.aliases.forms import AliasForm, alias_sentence, alias_values
from gateway.models import ModelAlias
from gateway.providers.known import known_models
from orgs.auth.access import admin, get_or_404, viewer
from orgs.console.confirm import HtmxRequest, question
from orgs.console.exports import exported
from orgs.console.pages import action, download, form_page, question_page, read_page
from orgs.console.refusals import refusal_in
from orgs.console.switch import switched

COLUMNS: Final = ("aliasId", "name", "models", "retries", "enabled")


@dataclass(frozen=True, slots=True)
class AliasLine:
    """An alias as the list shows it."""

    alias: ModelAlias
    sentence: str


@read_page
def aliases(request: HttpRequest) -> HttpResponse:
    """List the organization's aliases."""
    access = viewer(request)
    found = reports.aliases(organization_id=access.organization.pk)
    context = {
        "lines": [AliasLine(alias, alias_sentence(alias)) for alias in found],
        "can_change": access.can_change,
    }
    return render(request, "aliases/list.html", context)


@download
def export_aliases(request: HttpRequest, format: str) -> StreamingHttpResponse:
    """Send the aliases as a file."""
    access = viewer(request)
    found = reports.aliases(organization_id=access.organization.pk)
    rows = [[_exported(alias) for alias in found]]
    return exported(request, rows, columns=COLUMNS, name="aliases", format=format)


@form_page
def create_alias(request: HttpRequest) -> HttpResponse:
    """Make an alias; it can be used from the next request."""
    access = admin(request)
    known = known_models(access.organization.pk)
    others = reports.alias_names(organization_id=access.organization.pk)
    form = AliasForm(request.POST or None, known=known, other_aliases=others)
    if request.method == "POST" and form.is_valid():
        with refusal_in(form):
            alias = operations.create_alias(
                organization_id=access.organization.pk, terms=form.terms()
            )
            return _saved(request, form, f'Alias "{alias.name}" created.')
    return render(request, "aliases/form.html", {"form": form, "title": "New alias"})


@form_page
def edit_alias(request: HttpRequest, alias_id: str) -> HttpResponse:
    """Change an alias's name, models and retries."""
    access = admin(request)
    alias = get_or_404(access, ModelAlias.objects.all(), alias_id)
    others = reports.alias_names(organization_id=access.organization.pk, but=alias.pk)
    form = AliasForm(
        request.POST or None,
        known=known_models(alias.org_id),
        other_aliases=others,
        initial=alias_values(alias),
    )
    if request.method == "POST" and form.is_valid():
        terms = form.terms()
        with refusal_in(form):
            operations.update_alias(organization_id=alias.org_id, alias_id=alias.pk, terms=terms)
            return _saved(request, form, f'Alias "{terms.name}" saved.')
    context = {"form": form, "title": "Edit alias", "alias": alias}
    return render(request, "aliases/form.html", context)


@action
def toggle_alias(request: HttpRequest, alias_id: str) -> HttpResponse:
    """Turn an alias on or off as the button states, whatever its current state."""
    alias = get_or_404(admin(request), ModelAlias.objects.all(), alias_id)
    enabled = switched(
        request, operations.update_alias, organization_id=alias.org_id, alias_id=alias.pk
    )
    state = "on" if enabled else "off: requests that use it fail with unknown_model"
    messages.success(request, f'Alias "{alias.name}" is {state}.')
    return redirect("aliases")


@question_page
def delete_alias(request: HtmxRequest, alias_id: str) -> HttpResponse:
    """Ask, then remove the alias."""
    alias = get_or_404(admin(request), ModelAlias.objects.all(), alias_id)
    if request.method != "POST":
        context = {"alias": alias, "sentence": alias_sentence(alias)}
        return question(request, "aliases/delete.html", context)
    operations.delete_alias(organization_id=alias.org_id, alias_id=alias.pk)
    messages.success(request, f'Alias "{alias.name}" deleted.')
    return redirect("aliases")


def _exported(alias: ModelAlias) -> dict[str, Any]:
    return {
        "aliasId": str(alias.pk),
        "name": alias.name,
        "models": alias.models,
        "retries": alias.retries,
        "enabled": alias.enabled,
    }


def _saved(request: HttpRequest, form: AliasForm, sentence: str) -> HttpResponse:
    """Report success, and warn of unknown models: they may be typing errors."""
    messages.success(request, sentence)
    if doubtful := form.known.unknown(form.terms().models):
        messages.warning(request, f"Unknown model: {', '.join(doubtful)}.")
    return redirect("aliases")
