"""The pages of API keys.

Admins make, rotate and revoke keys. Auditors see all of them, members those they own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.timezone import now
from django.views.decorators.vary import vary_on_headers

from costs.core.calendar.periods import day_around, first_instant
from costs.core.money import euros
from gateway.keys import reports
from gateway.keys.forms import LimitedKeyForm
from gateway.keys.operations import create_key as create_limited_key
from gateway.keys.snippets import snippets_for
from gateway.models import Policy
from gateway.policies.names import names_in
from gateway.policies.sentences import policy_sentence
from gateway.providers.known import known_models
from orgs.auth.access import Access, admin, get_or_404, id_parameter, viewer
from orgs.console.confirm import HtmxRequest, question
from orgs.console.exports import exported
from orgs.console.pages import download, form_page, question_page, read_page
from orgs.console.queries import takes
from orgs.console.refusals import refusal_in
from orgs.core.permissions import Permission, permissions_in
from orgs.keys import operations
from orgs.keys import reports as keys_reports
from orgs.keys.forms import RotateForm
from orgs.keys.reports import KeyPage, KeyRow
from orgs.models import ApiKey

COLUMNS = (
    *("keyId", "name", "publicPart", "lastFour", "owner", "teamId", "projectId", "appId"),
    *("clientId", "permissions", "createdAt", "expiresAt", "lastUsedAt", "status"),
    *("spentThisMonthEur", "callersChoose", "clientFrom", "policies"),
)


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A key as the list shows it, with what it has cost since the month began, and the policies
    that name it.
    """

    key: KeyRow
    spent_nanoeur: int
    policies: list[Policy]


@takes("older_than")
@read_page
def keys(request: HttpRequest) -> HttpResponse:
    """List the keys the person may see, newest first, with what each has cost this month."""
    access = viewer(request)
    page = _page(access, older_than=id_parameter(request, "older_than"))
    context = {
        "lines": _lines(access, page.rows),
        "older_than": page.older_than,
        "zone": ZoneInfo(access.organization.timezone),
        "can_change": access.can_change,
        "only_own": not access.sees_everything,
    }
    return render(request, "keys/list.html", context)


@download
def export_keys(request: HttpRequest, format: str) -> StreamingHttpResponse:
    """Send all keys the person may see as a file; never more of a key than the list shows."""
    access = viewer(request)
    lines = _lines(access, _page(access, limit=None).rows)
    rows = [[_exported(line) for line in lines]]
    return exported(request, rows, columns=COLUMNS, name="keys", format=format)


@form_page
def create_key(request: HttpRequest) -> HttpResponse:
    """Make a key. The answer to the POST is the only page that ever shows it."""
    access = admin(request)
    posted = request.POST if request.method == "POST" else None
    form = LimitedKeyForm(posted, organization=access.organization)
    if request.method == "POST" and form.is_valid():
        fields = form.key_fields(now())
        fields["created_by_id"] = access.user.pk
        name = form.cleaned_data["name"]
        with refusal_in(form):
            key, text, policy = create_limited_key(
                org=access.organization, name=name, limits=form.limits(), **fields
            )
            return _key_page(request, key, text, policy)
    models = known_models(access.organization.pk).names
    return render(request, "keys/create.html", {"form": form, "models": models})


@form_page
@vary_on_headers("HX-Request")
def rotate_key(request: HtmxRequest, key_id: str) -> HttpResponse:
    """Ask for the overlap, then make the key's successor and show it once."""
    access = admin(request)
    key = get_or_404(access, ApiKey.objects, key_id)
    form = RotateForm(request.POST if request.method == "POST" else None, label_suffix="")
    if request.method == "POST" and form.is_valid():
        overlap = timedelta(hours=form.cleaned_data["overlap_hours"])
        with refusal_in(form):
            successor, text = operations.rotate_key(
                key=key, overlap=overlap, created_by_id=access.user.pk
            )
            return _key_page(request, successor, text)
    return question(request, "keys/rotate.html", {"form": form, "key": key})


@question_page
def revoke_key(request: HtmxRequest, key_id: str) -> HttpResponse:
    """Ask, then close the key for good."""
    access = admin(request)
    key = get_or_404(access, ApiKey.objects, key_id)
    if request.method != "POST":
        context = {
            "key": key,
            "zone": ZoneInfo(access.organization.timezone),
            "policies": reports.policies_of_key_alone(key),
        }
        return question(request, "keys/revoke.html", context)
    if operations.revoke_key(key=key):
        messages.success(request, f'Key "{key.name}" revoked.')
    else:
        messages.info(request, f'Key "{key.name}" is already revoked.')
    return redirect("keys")


def _page(access: Access, **place: Any) -> KeyPage:
    owner = None if access.sees_everything else access.user
    return keys_reports.keys(org=access.organization, moment=now(), owner=owner, **place)


def _lines(access: Access, rows: list[KeyRow]) -> list[KeyLine]:
    organization = access.organization
    spent = reports.spend_by_key(
        organization_id=organization.pk,
        key_ids=[row.id for row in rows],
        since=_month_begins(now(), ZoneInfo(organization.timezone)),
    )
    policies = reports.policies_by_key(organization_id=organization.pk)
    return [KeyLine(row, spent.get(row.id, 0), policies.get(str(row.first_id), [])) for row in rows]


def _month_begins(moment: datetime, zone: ZoneInfo) -> datetime:
    today = day_around(moment, zone)[0].astimezone(zone).date()
    return first_instant(today.replace(day=1), zone)


def _exported(line: KeyLine) -> dict[str, Any]:
    key = line.key
    moments = {
        "createdAt": key.created_at,
        "expiresAt": key.expires_at,
        "lastUsedAt": key.last_used_at,
    }
    return {
        "keyId": str(key.id),
        "name": key.name,
        "publicPart": key.public,
        "lastFour": key.last_four,
        "owner": key.owner,
        **{f"{name}Id": key.locked_to.get(name) for name in ("team", "project", "app", "client")},
        "permissions": key.permissions,
        **{name: at.isoformat() if at else None for name, at in moments.items()},
        "status": key.status,
        "spentThisMonthEur": f"{euros(line.spent_nanoeur):f}",
        "callersChoose": key.callers_choose,
        "clientFrom": key.client_from or None,
        "policies": [policy.name for policy in line.policies],
    }


def _key_page(
    request: HttpRequest, key: ApiKey, text: str, policy: Policy | None = None
) -> HttpResponse:
    base_url = request.build_absolute_uri("/")
    snippets = snippets_for(key=text, base_url=base_url, sandbox=settings.SANDBOX)
    may_send = Permission.SEND in permissions_in(key.permissions)
    context = {
        "key": key,
        "text": text,
        "snippets": snippets if may_send else (),
        "policy": policy,
        "sentence": policy and policy_sentence(policy, names_in(key.org_id, [policy.applies_to])),
        "unknown": known_models(key.org_id).unknown(policy.allowed_models) if policy else (),
    }
    return render(request, "keys/created.html", context)
