"""The page of the own account: change the password, end other sessions."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from django import forms
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.timezone import now
from django.views.decorators.debug import sensitive_post_parameters

from orgs.auth import operations, throttle
from orgs.auth.devices import remember_device
from orgs.auth.forms import EndSessionsForm, NewPasswordForm
from orgs.console.pages import action, read_page
from orgs.console.refusals import refusal_in
from orgs.models import User


@read_page
def profile(request: HttpRequest) -> HttpResponse:
    """Show the own account."""
    return _page(request, _person(request))


@action
@sensitive_post_parameters()
def change_password(request: HttpRequest) -> HttpResponse:
    """Set another password; it requires the old one and ends the other sessions."""
    user = _person(request)
    form = NewPasswordForm(user, request.POST)
    return _changed(
        request,
        form,
        lambda: operations.change_password(user=user, password=form.cleaned_data["new_password1"]),
        wrong="old_password",
        done="Your password is changed. All other sessions have ended.",
    ) or _page(request, user, password_form=form)


@action
@sensitive_post_parameters()
def end_sessions(request: HttpRequest) -> HttpResponse:
    """End the other sessions; it requires the password."""
    user = _person(request)
    form = EndSessionsForm(user, request.POST)
    return _changed(
        request,
        form,
        lambda: operations.end_sessions(user=user, password=form.cleaned_data["password"]),
        wrong="password",
        done="All other sessions have ended.",
    ) or _page(request, user, sessions_form=form)


def _changed(
    request: HttpRequest,
    form: EndSessionsForm | NewPasswordForm,
    change: Callable[[], None],
    *,
    wrong: str,
    done: str,
) -> HttpResponse | None:
    """Make the change if the form is valid, and keep this session; None if it is not.

    `wrong` is the field of the current password: someone at an open session must not guess it.
    """
    user: User = form.user
    attempt = throttle.begin_confirmation(user=user, moment=now())
    if attempt is None:
        messages.error(request, "Too many wrong passwords. Try again in 15 minutes.")
        return _page(request, user, status=HTTPStatus.TOO_MANY_REQUESTS)
    if wrong not in form.errors:
        throttle.forgive(attempt)
    if form.is_valid():
        with refusal_in(form):
            change()
            update_session_auth_hash(request, user)
            messages.success(request, done)
            response = redirect("profile")
            remember_device(request, response, user)
            return response
    return None


def _page(
    request: HttpRequest,
    user: User,
    *,
    password_form: forms.Form | None = None,
    sessions_form: forms.Form | None = None,
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    context = {
        "person": user,
        "password_form": password_form or NewPasswordForm(user),
        "sessions_form": sessions_form or EndSessionsForm(user),
    }
    return render(request, "auth/profile.html", context, status=status)


def _person(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise PermissionDenied("Sign in first.")
    return request.user
