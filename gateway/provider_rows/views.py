"""The pages of providers: operators have those of the installation, admins their organization's.

All members of an organization see its rows. The installation's are an operator's alone, who
can also ask each provider for its models.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.timezone import now

from costs.prices.book import load_price_book
from gateway.models import Provider
from gateway.provider_rows import operations, pricing
from gateway.provider_rows.discovery import discover
from gateway.provider_rows.forms import (
    INSTALLATION,
    ORGANIZATION,
    EditProviderForm,
    NewProviderForm,
    SecretForm,
)
from gateway.provider_rows.reports import ProviderLine, all_lines, line_of, row_line, rows_of
from gateway.provider_rows.terms import MODELS_MAX
from orgs.auth.access import (
    Access,
    admin,
    found_or_404,
    get_or_404,
    is_operator,
    viewer_or_operator,
)
from orgs.console.confirm import HtmxRequest, question
from orgs.console.pages import action, form_page, question_page, read_page
from orgs.console.refusals import refusal_in
from orgs.console.switch import switched
from orgs.core.errors import OrgsError

_NOT_FOUND: Final = "Only an operator or an admin of the organization can do this."
# A provider has 20 s to answer, which keeps one of the few threads of pages.
_CHECKING: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Rights:
    """What a person may see and change here; an operator need not belong to an organization."""

    access: Access | None
    is_operator: bool

    @property
    def org_id(self) -> UUID | None:
        """The active organization, if there is one."""
        return self.access.organization.pk if self.access else None

    @property
    def can_change_own(self) -> bool:
        """Whether the organization's rows can be changed."""
        return self.access is not None and self.access.can_change

    @property
    def can_add(self) -> bool:
        """Whether any row can be added."""
        return self.is_operator or self.can_change_own

    def can_change(self, row: Provider) -> bool:
        """Whether this row can be changed."""
        if row.org_id is None:
            return self.is_operator
        return row.org_id == self.org_id and self.can_change_own

    def owners(self) -> list[tuple[str, str]]:
        """Return whose rows can be added, as the choices of a form."""
        own = [(ORGANIZATION, self.access.organization.name)] if self.can_change_own else []  # type: ignore[union-attr]  # checked
        return [*([(INSTALLATION, "All organizations")] if self.is_operator else []), *own]


@read_page
def providers(request: HttpRequest) -> HttpResponse:
    """List the providers."""
    rights = _rights(request)
    rows = [row for row in rows_of(rights.org_id) if row.org_id or rights.is_operator]
    lines = all_lines(rows) if rights.is_operator else [row_line(row) for row in rows]
    lines.sort(key=lambda line: line.row is None)  # what can be changed first
    context = {
        "lines": [(line, _can_change(rights, line)) for line in lines],
        "can_add": rights.can_add,
        "is_operator": rights.is_operator,
    }
    return render(request, "provider_rows/list.html", context)


@form_page
def create_provider(request: HttpRequest) -> HttpResponse:
    """Add a provider; it can be used from the next request."""
    rights = _rights(request)
    if not rights.can_add:
        raise PermissionDenied(_NOT_FOUND)
    form = NewProviderForm(request.POST or None, owners=rights.owners())
    if request.method == "POST" and form.is_valid():
        is_own = form.cleaned_data["owner"] == ORGANIZATION
        with refusal_in(form):
            row = operations.add_provider(
                terms=form.terms(),
                secret=form.given_secret() or operations.NO_SECRET,
                org_id=admin(request).organization.pk if is_own else None,
                by_command=False,
            )
            messages.success(request, f'Provider "{row.name}" added.')
            return redirect("providers")
    return render(request, "provider_rows/form.html", {"form": form, "title": "New provider"})


@form_page
def edit_provider(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Change a provider."""
    row = _row_or_404(request, provider_id)
    form = EditProviderForm(request.POST or None, provider=row)
    if request.method == "POST" and form.is_valid():
        with refusal_in(form):
            changed = operations.change_provider(
                row, changes=form.changes(), secret=form.given_secret(), by_command=False
            )
            messages.success(request, f'Provider "{changed.name}" saved.')
            return redirect("providers")
    context = {"form": form, "title": "Edit provider", "line": row_line(row)}
    return render(request, "provider_rows/form.html", context)


@action
def toggle_provider(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Turn a provider on or off as the button states."""
    row = _row_or_404(request, provider_id)
    enabled = switched(request, operations.change_provider, provider=row, by_command=False)
    state = "on" if enabled else "off: its models are unknown"
    messages.success(request, f'Provider "{row.name}" is {state}.')
    return redirect("providers")


@form_page
def rotate_secret(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Replace the secret of a provider."""
    row = _row_or_404(request, provider_id)
    form = SecretForm(request.POST or None, label_suffix="")
    if request.method == "POST" and form.is_valid():
        with refusal_in(form):
            operations.rotate_secret(row, secret=form.given(), by_command=False)
            messages.success(request, f'The secret of "{row.name}" was rotated.')
            return redirect("providers")
    context = {"form": form, "title": f"New secret of {row.name}"}
    return render(request, "provider_rows/form.html", context)


@action
def check_provider(request: HttpRequest) -> HttpResponse:
    """Ask a provider for its models, and show them with their prices; one at a time.

    An operator can ask each of them, an admin the organization's own.
    """
    rights, line = _rights(request), line_of(request.POST.get("name", ""))
    if line is None or not (rights.is_operator or _can_change(rights, line)):
        raise Http404
    if not _CHECKING.acquire(blocking=False):
        messages.warning(request, "Another check is running; try again when it has ended.")
        return redirect("providers")
    try:
        [found] = discover([line.config])
    finally:
        _CHECKING.release()
    book, at, listed = load_price_book(), now(), set(line.row.models if line.row else ())
    models = [
        (model, pricing.price_state(model, line.config, book, at=at), model in listed)
        for model in found.models[:MODELS_MAX]
    ]
    context = {
        "line": line,
        "found": found,
        "models": models,
        "can_change": _can_change(rights, line),
    }
    return render(request, "provider_rows/check.html", context)


@action
def take_models(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Add models to those that a provider lists; an operator's get the known prices."""
    row, rights = _row_or_404(request, provider_id), _rights(request)
    names = request.POST.getlist("model")
    try:
        if rights.is_operator:
            taken = pricing.take(row, names, load_price_book(), at=now())
            if taken.unpriced:
                messages.warning(request, f"Without a price: {', '.join(taken.unpriced)}.")
        else:
            operations.take_models(row, names)
        messages.success(request, f'"{row.name}" lists {len(names)} more models.')
    except OrgsError as refusal:
        messages.error(request, f"{refusal.message}.")
    return redirect("providers")


@question_page
def delete_provider(request: HtmxRequest, provider_id: str) -> HttpResponse:
    """Ask, then remove the provider."""
    row = _row_or_404(request, provider_id)
    if request.method != "POST":
        return question(request, "provider_rows/delete.html", {"provider": row})
    operations.remove_provider(row)
    messages.success(request, f'Provider "{row.name}" removed.')
    return redirect("providers")


def _rights(request: HttpRequest) -> Rights:
    return Rights(access=viewer_or_operator(request), is_operator=is_operator(request.user))


def _row_or_404(request: HttpRequest, provider_id: str) -> Provider:
    """Return a row that may be changed: an operator's of the installation, or an admin's own."""
    rights = _rights(request)
    if rights.is_operator:
        mine = Q(org=rights.access.organization) if rights.access else Q(pk__in=())
        row = found_or_404(Provider.objects.filter(Q(org=None) | mine), provider_id)
        if row.org_id is None:
            return row
    return get_or_404(admin(request), Provider.objects.all(), provider_id)


def _can_change(rights: Rights, line: ProviderLine) -> bool:
    return line.row is not None and rights.can_change(line.row)
