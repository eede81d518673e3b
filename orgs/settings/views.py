"""The page of an organization's settings and members."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.timezone import now

from orgs.auth.access import Access, admin, choose_organization, get_or_404, viewer
from orgs.console.confirm import HtmxRequest, question
from orgs.console.exports import exported
from orgs.console.pages import action, download, form_page, question_page
from orgs.console.refusals import refusal_in
from orgs.core.errors import OrgsError
from orgs.members import invitations, reports
from orgs.members import operations as members_operations
from orgs.members.forms import MemberForm
from orgs.members.invitations import NewLink
from orgs.members.reports import MemberRow
from orgs.models import Invitation, Membership
from orgs.settings import operations
from orgs.settings.forms import OrganizationForm

MEMBER_COLUMNS: Final = (
    *("memberId", "email", "name", "role", "active", "hasPassword"),
    *("accepted", "addressConfirmed"),
)


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
    rows = [[_exported(row) for row in reports.members(viewer(request).organization, moment=now())]]
    return exported(request, rows, columns=MEMBER_COLUMNS, name="members", format=format)


@action
def add_member(request: HttpRequest) -> HttpResponse:
    """Invite an address; only this answer shows the one-time link."""
    access = admin(request)
    form = MemberForm(request.POST, label_suffix="")
    if form.is_valid():
        with refusal_in(form):
            link = invitations.invite(
                org=access.organization, invited_by=access.user, **form.cleaned_data
            )
            return _link_page(request, link)
    return _settings_page(request, access, member_form=form)


@action
def new_link(request: HttpRequest, member_id: str) -> HttpResponse:
    """Show a new one-time link of an invitation, or one that sets a member's password."""
    access = admin(request)
    found = _member_or_404(access, member_id)
    try:
        if isinstance(found, Invitation):
            role = request.POST.get("role")
            link = invitations.renew_link(invitation=found, role=role, invited_by=access.user)
        else:
            link = invitations.link_for_member(membership=found, invited_by=access.user)
    except OrgsError as refusal:
        messages.error(request, refusal.message)
        return redirect("settings-organization")
    return _link_page(request, link)


@action
def change_role(request: HttpRequest, member_id: str) -> HttpResponse:
    """Change a member's role. An invitation gets a new link with it: a link has one role."""
    found = _member_or_404(admin(request), member_id)
    if isinstance(found, Invitation):
        return new_link(request, member_id)
    role = request.POST.get("role", "")
    try:
        members_operations.change_role(membership=found, role=role)
    except OrgsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"{found.user.email} now has the role {role}.")
    return redirect("settings-organization")


@question_page
def remove_member(request: HtmxRequest, member_id: str) -> HttpResponse:
    """Confirm, then remove a member and revoke their keys here, or withdraw an invitation."""
    access = admin(request)
    found = _member_or_404(access, member_id)
    if request.method != "POST":
        context: dict[str, Any] = {"organization": access.organization}
        if isinstance(found, Invitation):
            context |= {"email": found.email, "is_invitation": True}
        else:
            keys = reports.count_unrevoked_keys(org=access.organization, owner=found.user)
            context |= {"email": found.user.email, "keys": keys}
        return question(request, "members/remove.html", context)
    try:
        messages.success(request, _remove(found))
    except OrgsError as refusal:
        messages.error(request, refusal.message)
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
        "members": reports.members(access.organization, moment=now()),
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
        "accepted": row.has_accepted,
        "addressConfirmed": row.is_confirmed,
    }


def _link_page(request: HttpRequest, link: NewLink) -> HttpResponse:
    context = {
        "invitation": link.invitation,
        "link": request.build_absolute_uri(link.path),
        "resets_password": link.resets_password,
    }
    return render(request, "members/link.html", context)


def _member_or_404(access: Access, member_id: str) -> Membership | Invitation:
    """Return the organization's own member or invitation with this id."""
    try:
        return get_or_404(access, Membership.objects, member_id)
    except Http404:
        return get_or_404(access, Invitation.objects, member_id)


def _remove(found: Membership | Invitation) -> str:
    """Remove a member or withdraw an invitation; return what was done."""
    if isinstance(found, Invitation):
        invitations.withdraw(invitation=found)
        return f"Removed the invitation of {found.email}."
    revoked = members_operations.remove_member(membership=found)
    return f"Removed {found.user.email}. Keys revoked: {revoked}."
