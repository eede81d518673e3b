"""The page that a one-time link opens: set a password, or accept with an existing account."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.forms import SetPasswordForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from orgs.auth.access import ACTIVE_ORGANIZATION
from orgs.core.errors import OrgsError
from orgs.members import invitations
from orgs.models import Invitation, Membership, User


@sensitive_post_parameters("new_password1", "new_password2")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def welcome(request: HttpRequest, uid: str, token: str) -> HttpResponse:
    """Let the holder of a one-time link join: see the rule in `orgs.members.invitations`."""
    invitation = invitations.opened(uid=uid, token=token)
    if invitation is None:
        return render(request, "members/welcome_over.html", status=410)
    account = invitations.account_of(invitation)
    try:
        if invitations.link_sets_password(account, org_id=invitation.org_id):
            return _set_password(request, invitation, account)
        return _accept(request, invitation, account)
    except OrgsError as refusal:  # the link or the account was used while the page was open
        messages.error(request, refusal.message)
        return redirect(request.path)


def _set_password(
    request: HttpRequest, invitation: Invitation, account: User | None
) -> HttpResponse:
    if "decline" in request.POST:
        return _declined(request, invitation)
    form: SetPasswordForm[User] = SetPasswordForm(
        account or User(email=invitation.email),
        request.POST if request.method == "POST" else None,
    )
    form.label_suffix = ""
    if request.method == "POST" and form.is_valid():
        membership = invitations.accept_with_password(
            invitation=invitation, password=form.cleaned_data["new_password1"]
        )
        login(request, membership.user)
        return _joined(request, membership)
    context = {"invitation": invitation, "account": account, "form": form}
    return render(request, "members/welcome.html", context)


def _accept(request: HttpRequest, invitation: Invitation, account: User | None) -> HttpResponse:
    is_owner = account is not None and request.user == account
    if account is not None and is_owner and request.method == "POST":
        if "decline" in request.POST:
            return _declined(request, invitation)
        membership = invitations.accept_signed_in(invitation=invitation, user=account)
        return _joined(request, membership)
    context = {"invitation": invitation, "is_owner": is_owner}
    return render(request, "members/accept.html", context)


def _joined(request: HttpRequest, membership: Membership) -> HttpResponse:
    request.session[ACTIVE_ORGANIZATION] = str(membership.org_id)
    messages.success(request, f"You are now a member of {membership.org.name}.")
    return redirect(settings.LOGIN_REDIRECT_URL)


def _declined(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    invitations.withdraw(invitation=invitation)
    messages.success(request, f"You declined the invitation to {invitation.org.name}.")
    return redirect("home")
