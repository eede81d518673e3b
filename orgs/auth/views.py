"""The sign-in and sign-out pages."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import authenticate, logout
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.timezone import now
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from orgs.auth import operations, throttle
from orgs.auth.devices import known_device, remember_device
from orgs.auth.forms import SignInForm
from orgs.console.queries import takes
from orgs.core.addresses import counted_address
from orgs.models import User


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Redirect to the console, or to the sign-in page."""
    return redirect(_landing(request) if request.user.is_authenticated else "login")


@takes("next")
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in by email address and password. No answer reveals whether an address is known."""
    if request.method == "POST":
        return _signed_in(request, SignInForm(request.POST, label_suffix=""))
    if request.user.is_authenticated:
        return redirect(_landing(request))
    return _sign_in_page(request, SignInForm(label_suffix=""))


def _signed_in(request: HttpRequest, form: SignInForm) -> HttpResponse:
    if not form.is_valid():
        return _sign_in_page(request, form)
    email = form.cleaned_data["email"]
    account = User.objects.filter(email=email).first()
    device_id = known_device(request, account)
    # The server replaces a trusted proxy's address with that of its client.
    address = counted_address(request.META.get("REMOTE_ADDR") or "unknown")
    attempt = throttle.begin_sign_in(
        email=email, address=address, device_id=device_id, moment=now()
    )
    if attempt is None:
        form.add_error(None, "Too many failed sign-in attempts. Try again in 15 minutes.")
        answer = _sign_in_page(request, form, status=429)
        answer["Retry-After"] = str(int(throttle.WINDOW.total_seconds()))
        return answer
    user = authenticate(request, username=email, password=form.cleaned_data["password"])
    if not isinstance(user, User):
        operations.record_failure(account)
        form.add_error(None, "Incorrect email address or password.")
        return _sign_in_page(request, form)
    throttle.forgive(attempt)
    operations.begin_session(request, user, device_is_known=device_id is not None)
    response = redirect(_landing(request))
    remember_device(request, response, user)
    return response


def _sign_in_page(request: HttpRequest, form: SignInForm, *, status: int = 200) -> HttpResponse:
    context = {"form": form, "next": _next_url(request)}
    return render(request, "auth/sign_in.html", context, status=status)


@takes("next")
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session. A page that needs another account is opened again after sign-in."""
    wanted = _next_url(request)
    logout(request)
    return redirect_to_login(wanted) if wanted else redirect("login")


def _next_url(request: HttpRequest) -> str:
    """Return the page to go on to, if it is on this site."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    is_ours = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if is_ours else ""


def _landing(request: HttpRequest) -> str:
    return _next_url(request) or resolve_url(settings.LOGIN_REDIRECT_URL)
