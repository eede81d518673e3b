"""The pages of API keys.

Admins make, rotate and revoke keys. Auditors see all of them, members those they own.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.timezone import now
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from orgs import key_operations, reports
from orgs.access import admin, get_or_404, viewer
from orgs.errors import OrgsError
from orgs.forms import KeyForm, RotateForm, show_refusal
from orgs.models import ApiKey

API_PATH: Final = "/api/ai/request"


@login_required
@require_safe
def keys(request: HttpRequest) -> HttpResponse:
    """List the keys the person may see, newest first."""
    access = viewer(request)
    page = reports.keys(
        org=access.organization,
        moment=now(),
        owner=None if access.sees_everything else access.user,
        older_than=_older_than(request),
    )
    context = {
        "page": page,
        "zone": access.organization.timezone,
        "can_change": access.can_change,
        "only_own": not access.sees_everything,
    }
    return render(request, "orgs/keys.html", context)


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def create_key(request: HttpRequest) -> HttpResponse:
    """Make a key. The answer to the POST is the only page that ever shows it."""
    access = admin(request)
    posted = request.POST if request.method == "POST" else None
    form = KeyForm(posted, organization=access.organization)
    if request.method == "POST" and form.is_valid():
        fields = form.key_fields(now())
        fields["created_by_id"] = access.user.pk
        name = form.cleaned_data["name"]
        try:
            key, text = key_operations.create_key(org=access.organization, name=name, **fields)
        except OrgsError as refusal:
            show_refusal(form, refusal)
        else:
            return _key_page(request, key, text)
    return render(request, "orgs/key_create.html", {"form": form})


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def rotate_key(request: HttpRequest, key_id: str) -> HttpResponse:
    """Ask for the overlap, then make the key's successor and show it once."""
    access = admin(request)
    key = get_or_404(access, ApiKey.objects, key_id)
    form = RotateForm(request.POST if request.method == "POST" else None, label_suffix="")
    if request.method == "POST" and form.is_valid():
        overlap = timedelta(hours=form.cleaned_data["overlap_hours"])
        try:
            successor, text = key_operations.rotate_key(
                key=key, overlap=overlap, created_by_id=access.user.pk
            )
        except OrgsError as refusal:
            show_refusal(form, refusal)
        else:
            return _key_page(request, successor, text)
    return render(request, "orgs/key_rotate.html", {"form": form, "key": key})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def revoke_key(request: HttpRequest, key_id: str) -> HttpResponse:
    """Ask, then close the key for good."""
    key = get_or_404(admin(request), ApiKey.objects, key_id)
    if request.method != "POST":
        return render(request, "orgs/key_revoke.html", {"key": key})
    if key_operations.revoke_key(key=key):
        messages.success(request, f'The key "{key.name}" is revoked.')
    else:
        messages.info(request, f'The key "{key.name}" was revoked before.')
    return redirect("keys")


def _key_page(request: HttpRequest, key: ApiKey, text: str) -> HttpResponse:
    context = {"key": key, "text": text, "url": request.build_absolute_uri(API_PATH)}
    return render(request, "orgs/key_created.html", context)


def _older_than(request: HttpRequest) -> UUID | None:
    wanted = request.GET.get("older_than")
    if not wanted:
        return None
    try:
        return UUID(wanted)
    except ValueError as exc:
        raise Http404 from exc
