"""The forms of API keys: create and rotate."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from django import forms

from orgs.console.fields import DimensionField
from orgs.core.client_sources import SOURCE_MAX_CHARS
from orgs.core.permissions import Permission, as_text
from orgs.keys.operations import NAME_MAX_CHARS, KeyFields
from orgs.models import Organization, User

KEY_LASTS_AT_MOST_DAYS: Final = 3650


class OwnerField(forms.ModelChoiceField):  # type: ignore[type-arg]  # not subscriptable at run time
    """A member of the organization, by email address."""

    def label_from_instance(self, obj: User) -> str:
        return obj.email if obj.email_confirmed_at else f"{obj.email} (unconfirmed)"


class PermissionBoxes(forms.CheckboxSelectMultiple):
    """A box for each permission. A script's form that does not name them means all.

    The page's own form always has one empty value, so that no box is not the same.
    """

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        if name not in data:
            return list(Permission)
        return [value for value in super().value_from_datadict(data, files, name) if value]


class KeyForm(forms.Form):
    """A key to create. A dimension with a value is fixed for all its calls."""

    name = forms.CharField(
        label="Key name",
        max_length=NAME_MAX_CHARS,
        help_text="What will use the key, such as the name of a service.",
    )
    owner = OwnerField(
        queryset=User.objects.none(),
        label="Owner",
        required=False,
        empty_label="No owner (callers may send a user id)",
        help_text="Calls are attributed to this person. Removing the member revokes the key.",
    )
    team_id = DimensionField(label="Team")
    project_id = DimensionField(label="Project")
    app_id = DimensionField(label="App")
    client_id = DimensionField(label="Client")
    client_from = forms.CharField(
        label="Client from",
        required=False,
        max_length=SOURCE_MAX_CHARS,
        help_text="Where calls without a client take it from: user, safety_identifier, "
        "metadata.user_id, or a header such as header:x-openwebui-user-id. It is the caller's "
        "word, and marked so.",
    )
    permissions = forms.MultipleChoiceField(
        label="Permissions",
        choices=[
            (Permission.SEND, "Send requests"),
            (Permission.READ, "Read requests and backtest policies"),
            (Permission.QUOTE, "Ask for quotes"),
        ],
        initial=list(Permission),
        widget=PermissionBoxes,
        error_messages={"required": "Choose at least one permission."},
    )
    expires_days = forms.IntegerField(
        label="Expires after (days)",
        required=False,
        min_value=1,
        max_value=KEY_LASTS_AT_MOST_DAYS,
        help_text="Leave empty for no expiry.",
    )

    def __init__(self, data: Any = None, *, organization: Organization) -> None:
        super().__init__(data, label_suffix="")
        owner = self.fields["owner"]
        members = User.objects.filter(memberships__org=organization, is_active=True)
        owner.queryset = members.order_by("email")  # type: ignore[attr-defined]  # an OwnerField

    def key_fields(self, moment: datetime) -> KeyFields:
        """Return the fields of the key except its name."""
        values = self.cleaned_data
        days = values["expires_days"]
        return KeyFields(
            owner=values["owner"],
            team_id=values["team_id"] or None,
            project_id=values["project_id"] or None,
            app_id=values["app_id"] or None,
            client_id=values["client_id"] or None,
            permissions=as_text(values["permissions"]),
            client_from=values["client_from"],
            expires_at=None if days is None else moment + timedelta(days=days),
        )


class RotateForm(forms.Form):
    """How long the old key stays valid."""

    overlap_hours = forms.TypedChoiceField(
        label="Keep the old key valid for",
        choices=[(0, "0 (revoke now)"), (1, "1 hour"), (24, "24 hours"), (168, "7 days")],
        coerce=int,
        initial=24,
    )
