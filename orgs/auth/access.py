"""Access control: the only way for a view to get an object.

A view first calls `viewer`, `member` or `admin`, and fetches with the access it gets:

    access = admin(request)
    key = get_or_404(access, ApiKey.objects, key_id)

Forms and links name their organization. Another tab may have made another one active since: then
they are refused, and the person chooses between the two.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import PermissionDenied
from django.db import Error as DatabaseUnavailable
from django.db.models import Manager, Model, Prefetch, QuerySet, prefetch_related_objects
from django.http import Http404, HttpRequest

from orgs.console.queries import LINK_ORGANIZATION, InvalidQuery
from orgs.models import Membership, Organization, User

ACTIVE_ORGANIZATION: Final = "organization_id"
# The organization's id in a form (a link has its slug), and the choice to change to a form's.
FORM_ORGANIZATION: Final = "form_organization"
CHANGES_ORGANIZATION: Final = "change_organization"

Row = TypeVar("Row", bound=Model)


class OtherOrganization(PermissionDenied):
    """The form or link is not for the `active` organization.

    `wanted` is the one that it is for, or None if the user is no member of it.
    """

    def __init__(self, *, wanted: Organization | None, active: Organization) -> None:
        whose = f'organization "{wanted.name}"' if wanted else "another organization"
        super().__init__(f'This page is for {whose}; the active organization is "{active.name}".')
        self.wanted, self.active = wanted, active


@dataclass(frozen=True, slots=True)
class Access:
    """A user's access to an organization. `is_staff` has no effect here."""

    user: User
    organization: Organization
    role: str

    @property
    def can_change(self) -> bool:
        """Whether the user can change policies, keys, members and settings."""
        return self.role == Membership.Role.ADMIN

    @property
    def can_use(self) -> bool:
        """Whether the user can send requests."""
        return self.role in (Membership.Role.ADMIN, Membership.Role.MEMBER)

    @property
    def sees_everything(self) -> bool:
        """Whether the user can also view what belongs to other members."""
        return self.role in (Membership.Role.ADMIN, Membership.Role.AUDITOR)


def viewer(request: HttpRequest) -> Access:
    """Return the access of any member of the organization, auditors included.

    Raises PermissionDenied: without an organization, or with a lower role than `member` and `admin`
    require. It is OtherOrganization for a form of another organization; a link of one in which the
    user has no membership raises Http404.
    """
    user = request.user
    if not isinstance(user, User):
        raise PermissionDenied("Sign in first.")
    membership = active_membership(user, request.session)
    if membership is None:
        raise PermissionDenied("You do not belong to an organization yet. Ask an admin to add you.")
    membership = _named(request, _memberships(user), membership)
    return Access(user=user, organization=membership.org, role=membership.role)


def _named(request: HttpRequest, memberships: list[Membership], active: Membership) -> Membership:
    """Return the membership of the organization that a form or a link names."""
    if request.method == "POST":
        named = request.POST.get(FORM_ORGANIZATION)
        if named in (None, str(active.org_id)):  # None: a script that sends fields of its own
            return active
        wanted = next((row for row in memberships if str(row.org_id) == named), None)
        if wanted is not None and CHANGES_ORGANIZATION in request.POST:
            request.session[ACTIVE_ORGANIZATION] = named
            return wanted
    else:
        slug = request.GET.get(LINK_ORGANIZATION)
        if slug in (None, active.org.slug):
            return active
        wanted = next((row for row in memberships if row.org.slug == slug), None)
        if wanted is None:
            raise Http404
    raise OtherOrganization(wanted=wanted.org if wanted else None, active=active.org)


def is_operator(user: object) -> bool:
    """Whether the user of a request, who may not be signed in, operates the installation."""
    return isinstance(user, User) and user.is_operator


def member(request: HttpRequest) -> Access:
    """Return the access of an admin or a member, who can use the gateway, as `viewer` does."""
    access = viewer(request)
    if not access.can_use:
        raise PermissionDenied(
            "Auditors can view everything, but cannot send requests or change anything."
        )
    return access


def admin(request: HttpRequest) -> Access:
    """Return the access of an admin, who has full access, as `viewer` does."""
    access = viewer(request)
    if not access.can_change:
        raise PermissionDenied("Only an admin of the organization can do this.")
    return access


def viewer_or_operator(request: HttpRequest) -> Access | None:
    """Return what `viewer` does; None for an operator who belongs to no organization."""
    user = request.user
    if isinstance(user, User) and user.is_operator and not _memberships(user):
        return None
    return viewer(request)


def get_or_404(access: Access, rows: Manager[Row] | QuerySet[Row], row_id: object) -> Row:
    """Return the organization's own row with this id.

    An id of another organization, an unknown and a malformed one all raise Http404.
    """
    return found_or_404(rows.filter(org=access.organization), row_id)


def get_of_member_or_404(user: User, rows: Manager[Row] | QuerySet[Row], row_id: object) -> Row:
    """Return a row of any of the user's organizations, for a link that leads to its page."""
    return found_or_404(rows.filter(org__in=[row.org for row in _memberships(user)]), row_id)


def found_or_404(rows: QuerySet[Row], row_id: object) -> Row:
    """Return the one of these rows with an id. Raises Http404, also for a malformed id."""
    try:
        key = row_id if isinstance(row_id, uuid.UUID) else uuid.UUID(str(row_id))
    except ValueError as exc:
        raise Http404 from exc
    row = rows.filter(pk=key).first()
    if row is None:
        raise Http404
    return row


def active_membership(user: User, session: SessionBase) -> Membership | None:
    """Return the membership of the organization chosen in the session, else the first."""
    return _chosen(_memberships(user), session)


def choose_organization(request: HttpRequest, chosen: str) -> None:
    """Make another of the user's organizations active; raise Http404 for any other."""
    user = request.user
    if not isinstance(user, User) or chosen not in {str(row.org_id) for row in _memberships(user)}:
        raise Http404
    request.session[ACTIVE_ORGANIZATION] = chosen


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Return the context of the page header: `{"navigation": None}` if no user is signed in.

    Error pages have a header too: without a database it is omitted, not a second error.
    """
    try:
        return {"navigation": _navigation(request)}
    except DatabaseUnavailable:
        return {"navigation": None}


def _navigation(request: HttpRequest) -> dict[str, Any] | None:
    user = getattr(request, "user", None)  # an error before the middleware leaves none
    if not isinstance(user, User):
        return None
    memberships = _memberships(user)
    chosen = _chosen(memberships, request.session)
    return {
        "email": user.email,
        "is_staff": user.is_staff,
        "organization": chosen.org if chosen else None,
        "organizations": [membership.org for membership in memberships],
        "role": chosen.role if chosen else None,
        "can_change": chosen is not None and chosen.role == Membership.Role.ADMIN,
        "can_use": chosen is not None and chosen.role != Membership.Role.AUDITOR,
    }


def _memberships(user: User) -> list[Membership]:
    """Return the user's memberships, read once for the view and the page header."""
    rows = Membership.objects.select_related("org").order_by("org__name", "id")
    prefetch_related_objects([user], Prefetch("memberships", queryset=rows))
    return list(user.memberships.all())


def _chosen(memberships: list[Membership], session: SessionBase) -> Membership | None:
    wanted = session.get(ACTIVE_ORGANIZATION)
    for membership in memberships:
        if str(membership.org_id) == wanted:
            return membership
    return memberships[0] if memberships else None


def id_parameter(request: HttpRequest, name: str) -> uuid.UUID | None:
    """Return the id in a URL parameter, or None without one. Raises InvalidQuery (400)."""
    wanted = request.GET.get(name)
    if not wanted:
        return None
    try:
        return uuid.UUID(wanted)
    except ValueError as exc:
        raise InvalidQuery(name, f"{name} must be an id") from exc
