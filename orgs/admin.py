"""Django admin for people, organizations, members, invitations and keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import (
    AdminPasswordChangeForm,
    AdminUserCreationForm,
    UserChangeForm,
)
from django.contrib.auth.models import Group
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.timezone import now

from orgs.audit import history
from orgs.audit.admin import HistoryEventAdmin, RecordedAdmin
from orgs.auth.access import is_operator
from orgs.core.errors import OrgsError
from orgs.keys import operations as keys_operations
from orgs.members import invitations
from orgs.members import operations as members_operations
from orgs.models import ApiKey, Invitation, Membership, Organization, User
from orgs.settings.operations import RECORDED as RECORDED_OF_ORGANIZATIONS
from orgs.settings.operations import time_zone_changed

__all__ = ["HistoryEventAdmin"]
RIGHTS: Final = ("is_staff", "is_superuser", "groups", "user_permissions")


def operator_sign_in(request: HttpRequest, extra_context: Any = None) -> HttpResponse:
    """Redirect to the console's sign-in page, since Django admin's own is not throttled."""
    if admin.site.has_permission(request):
        return redirect("admin:index")
    if request.user.is_authenticated:
        raise PermissionDenied("Only operators of this installation can open these pages.")
    return redirect_to_login(request.GET.get("next") or "/admin/")


def own_password(request: HttpRequest, extra_context: Any = None) -> HttpResponse:
    """Redirect to the profile page: Django's own has no throttle and no history."""
    return redirect("profile")


admin.site.site_header = admin.site.site_title = "Pulse AI Gateway: installation admin"
admin.site.login = operator_sign_in  # type: ignore[method-assign]  # Django has no setting for it
admin.site.password_change = own_password  # type: ignore[assignment]


class KeptAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Rows that cannot be deleted, since others refer to them."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ActionsAdmin(KeptAdmin):
    """Rows that only the list's actions can change."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None and super().has_change_permission(request, obj)


class NewUserForm(AdminUserCreationForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """An account; without a password its owner cannot sign in yet."""

    class Meta:
        model = User
        fields = ("email", "name")

    def clean_email(self) -> str:
        return _lower_case(self.cleaned_data["email"])


class UserForm(UserChangeForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """An account's own data; the password has a form of its own."""

    class Meta:
        model = User
        fields = "__all__"

    def clean_email(self) -> str:
        return _lower_case(self.cleaned_data["email"])

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if "email" in self.changed_data:
            self.instance.email_confirmed_at = None
        # The one who registered the address first may have its password.
        for right in ("is_staff", "is_superuser"):
            is_new = right in self.changed_data and values.get(right)
            if is_new and self.instance.email_confirmed_at is None:
                self.add_error(right, "Set a password for this account first")
        return values


class UserPasswordForm(AdminPasswordChangeForm):  # type: ignore[type-arg]  # not subscriptable
    """The password that an operator sets, which confirms the address."""

    def save(self, commit: bool = True) -> User:
        has_password = self.cleaned_data["set_usable_password"]
        self.user.email_confirmed_at = now() if has_password else None
        with transaction.atomic():
            user: User = super().save(commit)
            history.record("password_set", user, after={"has_password": has_password})
        return user


@admin.register(User)
class UserAdmin(RecordedAdmin, DjangoUserAdmin):  # type: ignore[type-arg]  # not subscriptable
    """People. They are deactivated, not deleted: rows refer to them.

    Only superusers give rights or change staff: others with the permission to change users
    would make themselves superusers, or set the password of one.
    """

    recorded = ("email", "name", "is_active", "is_staff", "is_superuser")

    form = UserForm
    add_form = NewUserForm
    change_password_form = UserPasswordForm
    list_display = ("email", "address_confirmed", "name", "is_active", "is_staff")
    list_filter = ("is_active", "is_staff")
    search_fields = ("email", "name")
    ordering = ("email",)
    readonly_fields = ("id", "address_confirmed", "joined_at", "last_login")
    fieldsets = (
        (None, {"fields": ("id", "email", "address_confirmed", "name", "password")}),
        ("Operators", {"fields": ("is_staff", "is_superuser", "groups", "user_permissions")}),
        ("State", {"fields": ("is_active", "joined_at", "last_login")}),
    )
    add_fieldsets = (
        (None, {"fields": ("email", "name", "usable_password", "password1", "password2")}),
    )

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        is_theirs = obj is None or not obj.is_protected or is_operator(request.user)
        return is_theirs and super().has_change_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        return (
            self.readonly_fields if is_operator(request.user) else (*self.readonly_fields, *RIGHTS)
        )

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change and obj.has_usable_password():
            obj.email_confirmed_at = now()
        super().save_model(request, obj, form, change)

    @admin.display(boolean=True, description="address confirmed")
    def address_confirmed(self, user: User) -> bool:
        return user.email_confirmed_at is not None


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin):
    """Groups of permissions: a member who changes the own group has every permission."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_operator(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_operator(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_operator(request.user)


@admin.register(Organization)
class OrganizationAdmin(RecordedAdmin, KeptAdmin):
    """Organizations. They are switched off, not deleted: the ledger refers to them."""

    list_display = ("name", "slug", "ai_gateway_enabled", "timezone")
    list_filter = ("ai_gateway_enabled",)
    search_fields = ("name", "slug")
    readonly_fields = ("id", "config_version", "created_at")
    recorded = RECORDED_OF_ORGANIZATIONS

    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            if change and "timezone" in form.changed_data:
                time_zone_changed(obj)


@admin.register(Membership)
class MembershipAdmin(ActionsAdmin):
    """Memberships. People join by an invitation; removing one revokes keys: an action."""

    list_display = ("user", "org", "role", "address_confirmed")
    list_filter = ("role",)
    list_select_related = ("user", "org")
    search_fields = ("user__email", "org__slug", "org__name")
    actions = ("remove", "make_admin", "make_member", "make_auditor")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(boolean=True, description="address confirmed")
    def address_confirmed(self, membership: Membership) -> bool:
        return membership.user.email_confirmed_at is not None

    @admin.action(description="Remove and revoke their keys", permissions=["change"])
    def remove(self, request: HttpRequest, rows: QuerySet[Membership]) -> None:
        _do_to_each(request, rows, lambda row: members_operations.remove_member(membership=row))

    @admin.action(description="Change role to admin", permissions=["change"])
    def make_admin(self, request: HttpRequest, rows: QuerySet[Membership]) -> None:
        _give_role(request, rows, Membership.Role.ADMIN)

    @admin.action(description="Change role to member", permissions=["change"])
    def make_member(self, request: HttpRequest, rows: QuerySet[Membership]) -> None:
        _give_role(request, rows, Membership.Role.MEMBER)

    @admin.action(description="Change role to auditor", permissions=["change"])
    def make_auditor(self, request: HttpRequest, rows: QuerySet[Membership]) -> None:
        _give_role(request, rows, Membership.Role.AUDITOR)


class InvitationForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """An invitation, refused as on the organization's own page."""

    class Meta:
        model = Invitation
        fields = ("org", "email", "role")

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                invitations.check_can_be_invited(org=values["org"], email=values["email"])
            except OrgsError as refusal:
                self.add_error(refusal.field, refusal.message)
        return values

    def clean_email(self) -> str:
        return _lower_case(self.cleaned_data["email"])


@admin.register(Invitation)
class InvitationAdmin(ActionsAdmin):
    """Invitations to an organization. The page after adding one shows its link, once."""

    form = InvitationForm
    list_display = ("email", "org", "role", "invited_by", "link_created_at")
    list_select_related = ("org", "invited_by")
    search_fields = ("email", "org__slug", "org__name")
    autocomplete_fields = ("org",)
    actions = ("withdraw",)

    def save_model(self, request: HttpRequest, obj: Invitation, form: Any, change: bool) -> None:
        link = invitations.invite(org=obj.org, email=obj.email, role=obj.role)
        obj.pk = link.invitation.pk

    def response_add(
        self, request: HttpRequest, obj: Invitation, post_url_continue: str | None = None
    ) -> HttpResponse:
        link = invitations.renew_link(invitation=obj)
        context = {"invitation": obj, "link": request.build_absolute_uri(link.path)}
        return render(request, "members/link.html", context)

    @admin.action(description="Remove; their links end", permissions=["change"])
    def withdraw(self, request: HttpRequest, rows: QuerySet[Invitation]) -> None:
        _do_to_each(request, rows, lambda row: invitations.withdraw(invitation=row))


@admin.register(ApiKey)
class ApiKeyAdmin(ActionsAdmin):
    """Keys, to view and to revoke. Their digest is never shown."""

    list_display = (
        *("name", "org", "public", "last_four", "owner", "permissions", "client_from"),
        *("expires_at", "revoked_at"),
    )
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    list_select_related = ("org", "owner")
    search_fields = ("name", "public", "org__slug", "owner__email")
    exclude = ("digest",)
    actions = ("revoke",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.action(description="Revoke permanently", permissions=["change"])
    def revoke(self, request: HttpRequest, rows: QuerySet[ApiKey]) -> None:
        _do_to_each(request, rows, lambda row: keys_operations.revoke_key(key=row))


def _give_role(request: HttpRequest, rows: QuerySet[Membership], role: str) -> None:
    _do_to_each(
        request, rows, lambda row: members_operations.change_role(membership=row, role=role)
    )


def _do_to_each(
    request: HttpRequest, rows: QuerySet[Any], operation: Callable[[Any], object]
) -> None:
    done = 0
    for row in rows:
        try:
            operation(row)
        except OrgsError as refusal:
            messages.error(request, refusal.message)
        else:
            done += 1
    messages.success(request, f"Done: {done} of {len(rows)}.")


def _lower_case(email: str) -> str:
    return email.strip().lower()
