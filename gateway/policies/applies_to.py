"""The fields of a form for the calls that a policy applies to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast
from uuid import UUID

from django import forms
from django.db.models import Q

from costs.explorer.names import is_address, values_named
from gateway.console.dimensions import ChosenField, KnownValuesField
from gateway.core.calls import CHANNELS, DIMENSION_MAX_CHARS
from gateway.models import Policy
from gateway.policies.names import uuid_in
from gateway.providers.catalog import load_catalog
from gateway.providers.rows import row_names
from orgs.core.errors import Invalid
from orgs.core.keys import PUBLIC_CHARS
from orgs.core.spelling import folded
from orgs.core.values import EMAIL_MAX_CHARS
from orgs.database import may_be
from orgs.models import ApiKey

# Of each column: every call of an organization is compared with all policies that name any.
NAMED_MAX: Final = 100
# The field of each column that policies name calls by.
NAMED_FIELDS: Final = {
    "key_id": "keys",
    "user_id": "users",
    "team_id": "teams",
    "project_id": "projects",
    "app_id": "apps",
    "client_id": "clients",
    "task_type": "task_types",
    "provider": "providers",
    "channel": "channels",
}
# As JSON has them: of exports and of the backtest's query.
NAMED_PARAMETERS: Final = {
    name: "taskTypes" if field == "task_types" else field for name, field in NAMED_FIELDS.items()
}
PROVIDERS: Final = {name: name for name in load_catalog(sandbox=True).vendors}
PREFIX: Final = "pulse_"


def _values_field(label: str, help_text: str = "", **options: int) -> KnownValuesField:
    return KnownValuesField(label=label, help_text=help_text, most=NAMED_MAX, **options)


class AppliesToForm(forms.Form):
    """The calls that a policy applies to: those with one of the values of each field in use."""

    keys = _values_field("Keys", "One per line: names, or public parts. Rotations are included.")
    users = _values_field(
        "Users", "One per line: email addresses or user ids.", max_chars=EMAIL_MAX_CHARS
    )
    teams = _values_field("Teams", "One per line.")
    projects = _values_field("Projects")
    apps = _values_field("Apps")
    clients = _values_field("Clients")
    task_types = _values_field("Task types")
    providers = ChosenField(label="Providers", values=PROVIDERS)
    channels = ChosenField(label="Channels", values=CHANNELS)

    def offer_providers(self, organization_id: UUID | None) -> None:
        """Let the providers be chosen that an organization can call, and those that its policies
        name though they were removed.
        """
        field = cast("ChosenField", self.fields["providers"])
        field.offer(_providers_of(organization_id))

    def organization_of(self) -> UUID | None:
        """Return the organization whose policy it is; None if it is not chosen yet."""
        raise NotImplementedError

    def clean_keys(self) -> list[str]:
        """Return the ids of the organization's keys, each by the first of its rotations."""
        typed: list[str] = self.cleaned_data["keys"]
        organization_id = self.organization_of()
        if not typed or organization_id is None:
            return []
        found = _keys_of(organization_id, typed)
        unknown = [text for text in typed if text not in found]
        if unknown:
            raise forms.ValidationError(
                f"Key not found: {', '.join(unknown)}. "
                "Give the name or, if it is revoked, the public part of a key."
            )
        return list(dict.fromkeys(found[text] for text in typed))

    def clean_users(self) -> list[str]:
        """Return the ids of people with these addresses, and the texts: callers send either."""
        organization_id = self.organization_of()
        ids = (
            each for text in self.cleaned_data["users"] for each in _user_ids(organization_id, text)
        )
        return list(dict.fromkeys(ids))

    def applies_to(self) -> dict[str, list[str]]:
        """Return what a valid form names, by column."""
        values = self.cleaned_data
        return {name: values[field] for name, field in NAMED_FIELDS.items() if values[field]}


def _providers_of(organization_id: UUID | None) -> dict[str, str]:
    rows = sorted(row_names(organization_id))
    columns = Policy.objects.filter(org=organization_id).values_list("applies_to", flat=True)
    named = {name for column in columns for name in column.get("provider") or ()}
    offered = PROVIDERS | dict(zip(rows, rows, strict=True))
    return offered | {name: f"{name} (removed)" for name in sorted(named - offered.keys())}


def _keys_of(organization_id: UUID, typed: Sequence[str]) -> dict[str, str]:
    """Return by each text that names a key of the organization the first id of its rotations."""
    publics = {text: text.removeprefix(PREFIX)[:PUBLIC_CHARS] for text in typed}
    ids = {text: row_id for text in typed if (row_id := uuid_in(text))}
    by_name: dict[str, str] = {}
    by_public: dict[str, str] = {}
    by_id: dict[UUID, str] = {}
    of = may_be("name", typed) | Q(public__in=publics.values()) | Q(pk__in=ids.values())
    rows = ApiKey.objects.filter(of, org=organization_id).values_list(
        "pk", "lineage_id", "name", "public", "revoked_at"
    )
    for key_id, lineage_id, name, public, revoked_at in rows:
        first = str(lineage_id or key_id)
        by_public[public], by_id[key_id] = first, first
        if revoked_at is None:  # no two of these have one name
            by_name[folded(name)] = first
    found = {
        text: by_name.get(folded(text))
        or by_public.get(publics[text])
        or (text in ids and by_id.get(ids[text]))
        for text in typed
    }
    return {text: first for text, first in found.items() if first}


def _user_ids(organization_id: UUID | None, text: str) -> tuple[str, ...]:
    of_person: tuple[str, ...] = ()
    if organization_id is not None and is_address(text):
        try:
            of_person = values_named(
                text, column="user_id", organization_id=organization_id, date_range=None
            )[:1]
        except Invalid as exc:
            raise forms.ValidationError(f"{exc.message}.") from exc
    if len(text) <= DIMENSION_MAX_CHARS:
        return (*of_person, text)
    if not of_person:
        raise forms.ValidationError(
            f"A user id must have at most {DIMENSION_MAX_CHARS} characters."
        )
    return of_person


def typed_fields(typed: dict[str, list[str]]) -> dict[str, Any]:
    """Return what a policy names, as one types it, as values of the fields."""
    return {field: typed.get(name, []) for name, field in NAMED_FIELDS.items()}
