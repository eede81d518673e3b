"""The page that a one-time link opens: join, or set another password."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.forms import SetPasswordForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from orgs.auth import operations
from orgs.auth.access import ACTIVE_ORGANIZATION
from orgs.auth.devices import remember_device
from orgs.core.errors import OrgsError
from orgs.members import invitations
from orgs.models import Invitation, Membership, User


@sensitive_post_parameters("new_password1", "new_password2")
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
    resets = account is not None and invitations.is_member(account, invitation.org_id)
    form: SetPasswordForm[User] = SetPasswordForm(
        account or User(email=invitation.email),
        request.POST if request.method == "POST" else None,
    )
    form.label_suffix = ""
    if request.method == "POST" and form.is_valid():
        membership = invitations.accept_with_password(
            invitation=invitation, password=form.cleaned_data["new_password1"]
        )
        operations.begin_session(request, membership.user, device_is_known=False)
        done = "Your password is changed." if resets else _welcome(membership)
        response = _entered(request, membership, done)
        remember_device(request, response, membership.user)
        return response
    context = {"invitation": invitation, "account": account, "form": form, "resets": resets}
    return render(request, "members/welcome.html", context)


def _accept(request: HttpRequest, invitation: Invitation, account: User | None) -> HttpResponse:
    is_owner = account is not None and request.user == account
    if account is not None and is_owner and request.method == "POST":
        if "decline" in request.POST:
            return _declined(request, invitation)
        membership = invitations.accept_signed_in(invitation=invitation, user=account)
        return _entered(request, membership, _welcome(membership))
    context = {"invitation": invitation, "is_owner": is_owner}
    return render(request, "members/accept.html", context)


def _welcome(membership: Membership) -> str:
    return f"You are now a member of {membership.org.name}."


def _entered(request: HttpRequest, membership: Membership, done: str) -> HttpResponse:
    request.session[ACTIVE_ORGANIZATION] = str(membership.org_id)
    messages.success(request, done)
    return redirect(settings.LOGIN_REDIRECT_URL)


def _declined(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    invitations.withdraw(invitation=invitation)
    messages.success(request, f"You declined the invitation to {invitation.org.name}.")
    return redirect("home")
