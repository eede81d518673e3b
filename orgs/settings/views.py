"""The page of an organization's settings and members."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache

from orgs.auth.access import Access, admin, choose_organization, get_or_404, viewer
from orgs.console.confirm import HtmxRequest, question
from orgs.console.exports import exported
from orgs.console.pages import action, download, form_page, question_page
from orgs.console.refusals import refusal_in
from orgs.core.errors import OrgsError
from orgs.members import operations as members_operations
from orgs.members import reports
from orgs.members.forms import MemberForm
from orgs.members.reports import MemberRow
from orgs.models import Membership, User
from orgs.settings import operations
from orgs.settings.forms import OrganizationForm

MEMBER_COLUMNS: Final = ("memberId", "email", "name", "role", "active", "hasPassword")


@form_page
def organization(request: HtmxRequest) -> HttpResponse:
    """Show the settings to everyone in the organization; an admin saves them here.

    Turning the gateway off on the page requires confirmation.
    """
    if request.method != "POST":
        return _settings_page(request, viewer(request))
    access = admin(request)
    form = OrganizationForm(request.POST, organization=access.organization)
    if form.is_valid():
        if form.turns_the_gateway_off() and "turn_off" not in request.POST:
            context = {"organization": access.organization, "posted": form.posted()}
            return question(request, "settings/gateway_off.html", context)
        with refusal_in(form):
            operations.change_organization(org=access.organization, **form.changes())
            messages.success(request, "Settings saved.")
            return redirect("settings-organization")
    return _settings_page(request, access, form=form)


@download
def export_members(request: HttpRequest, format: str) -> StreamingHttpResponse:
    """Send the organization's members as a file."""
    rows = [[_exported(row) for row in reports.members(viewer(request).organization)]]
    return exported(request, rows, columns=MEMBER_COLUMNS, name="members", format=format)


@action
@never_cache
def add_member(request: HttpRequest) -> HttpResponse:
    """Add a member; only this answer shows the one-time link of a new user."""
    access = admin(request)
    form = MemberForm(request.POST, label_suffix="")
    if form.is_valid():
        with refusal_in(form):
            added = members_operations.add_member(org=access.organization, **form.cleaned_data)
            messages.success(request, f"{added.membership.user.email} is now a member.")
            if added.welcome_path is None:
                return redirect("settings-organization")
            return _link_page(request, added.membership.user, added.welcome_path)
    return _settings_page(request, access, member_form=form)


@action
@never_cache
def new_link(request: HttpRequest, member_id: str) -> HttpResponse:
    """Show another one-time link for a member who has not set a password yet."""
    membership = get_or_404(admin(request), Membership.objects, member_id)
    try:
        path = members_operations.new_welcome_path(membership=membership)
    except OrgsError as refusal:
        messages.error(request, refusal.message)
        return redirect("settings-organization")
    return _link_page(request, membership.user, path)


@action
def change_role(request: HttpRequest, member_id: str) -> HttpResponse:
    """Change a member's role."""
    membership = get_or_404(admin(request), Membership.objects, member_id)
    role = request.POST.get("role", "")
    try:
        members_operations.change_role(membership=membership, role=role)
    except OrgsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"{membership.user.email} now has the role {role}.")
    return redirect("settings-organization")


@question_page
def remove_member(request: HtmxRequest, member_id: str) -> HttpResponse:
    """Confirm, then remove a member and revoke their keys in the organization."""
    access = admin(request)
    membership = get_or_404(access, Membership.objects, member_id)
    if request.method != "POST":
        count = reports.count_unrevoked_keys(org=access.organization, owner=membership.user)
        context = {
            "email": membership.user.email,
            "organization": access.organization,
            "keys": count,
        }
        return question(request, "members/remove.html", context)
    try:
        revoked = members_operations.remove_member(membership=membership)
    except OrgsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"Removed {membership.user.email}. Keys revoked: {revoked}.")
    return redirect("settings-organization")


@action
def switch_organization(request: HttpRequest) -> HttpResponse:
    """Make another of the user's organizations active."""
    choose_organization(request, request.POST.get("organization", ""))
    wanted = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(wanted, allowed_hosts={request.get_host()})
    return redirect(wanted if is_ours else "home")


def _settings_page(
    request: HttpRequest,
    access: Access,
    *,
    form: OrganizationForm | None = None,
    member_form: MemberForm | None = None,
) -> HttpResponse:
    context: dict[str, Any] = {
        "form": form or OrganizationForm(organization=access.organization),
        "member_form": member_form or MemberForm(label_suffix=""),
        "organization": access.organization,
        "can_change": access.can_change,
        "members": reports.members(access.organization),
        "own_email": access.user.email,
        "roles": Membership.Role.choices,
    }
    return render(request, "settings/settings.html", context)


def _exported(row: MemberRow) -> dict[str, Any]:
    return {
        "memberId": str(row.id),
        "email": row.email,
        "name": row.name,
        "role": row.role,
        "active": row.is_active,
        "hasPassword": row.has_password,
    }


def _link_page(request: HttpRequest, user: User, path: str) -> HttpResponse:
    context = {"email": user.email, "link": request.build_absolute_uri(path)}
    return render(request, "members/link.html", context)
