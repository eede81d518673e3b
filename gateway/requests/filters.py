"""The filters of recent requests, read from the URL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from django import forms

from costs.core.calendar.periods import day_around, first_instant
from gateway.console.fields import DIMENSION_FIELDS, MomentField
from gateway.core.model_names import NAME_MAX_CHARS
from gateway.models import AiRequestLog
from gateway.requests.reports import Cursor, RequestQuery, with_names
from orgs.console.fields import dimension_field
from orgs.console.refusals import refusal_in
from orgs.models import Organization

PERIODS: Final = (
    ("", "Any time"),
    ("today", "Today"),
    ("7d", "Last 7 days"),
    ("30d", "Last 30 days"),
)
DAYS: Final = {"today": 1, "7d": 7, "30d": 30}
PROVIDER_MAX_CHARS: Final = 32
CODE_MAX_CHARS: Final = 40
# What is a place in the list and no filter of it.
PLACES: Final = ("before", "after", "waiting")
MOMENTS: Final = ("from", "to")
ORDER: Final = "from must be before to"
WAITING_MAX_CHARS: Final = 50 * 37  # ids and commas
ESTIMATED: Final = (("", "Any"), ("yes", "estimated"))
WATCHED: Final = (("", "Any"), ("yes", "would have been refused"))
FILTERED_BY: Final = (("userId", "User", "user_id"), *DIMENSION_FIELDS)
SESSIONS: Final = (("sessionId", "Session", "session_id"), ("agentId", "Agent", "agent_id"))
FOLDED: Final = (
    "code",
    "estimated",
    "watched",
    "requestId",
    "keyId",
    *(field for field, _, _ in SESSIONS),
    *(field for field, _, _ in FILTERED_BY),
)
# What narrows the list, on the page and in its files.
FILTERS: Final = ("status", "model", "provider", "period", *MOMENTS, *FOLDED)


class RequestFilterForm(forms.Form):
    """Every filter of the list; an empty URL is everything, newest first."""

    status = forms.ChoiceField(
        label="Status",
        required=False,
        choices=[("", "Any"), *((value, value) for value in AiRequestLog.Status.values)],
    )
    model = forms.CharField(label="Model", required=False, max_length=NAME_MAX_CHARS)
    provider = forms.CharField(label="Provider", required=False, max_length=PROVIDER_MAX_CHARS)
    period = forms.ChoiceField(label="Period", required=False, choices=PERIODS)
    code = forms.CharField(label="Code", required=False, max_length=CODE_MAX_CHARS)
    estimated = forms.ChoiceField(label="Cost", required=False, choices=ESTIMATED)
    watched = forms.ChoiceField(label="Watched policies", required=False, choices=WATCHED)
    requestId = forms.UUIDField(  # the API's name, as all here
        label="Request id", required=False, error_messages={"invalid": "Not a valid request id."}
    )
    keyId = forms.UUIDField(
        label="Key id", required=False, error_messages={"invalid": "Not a valid key id."}
    )
    before = forms.CharField(required=False, max_length=100, widget=forms.HiddenInput)
    after = forms.CharField(required=False, max_length=100, widget=forms.HiddenInput)
    waiting = forms.CharField(
        required=False, max_length=WAITING_MAX_CHARS, widget=forms.HiddenInput
    )

    def __init__(
        self, data: Mapping[str, Any], *, organization: Organization, moment: datetime
    ) -> None:
        super().__init__(data, label_suffix="")
        self._organization_id, self._moment = organization.pk, moment
        self._zone = zone = ZoneInfo(organization.timezone)
        self._query = RequestQuery()
        # `from` cannot be a class attribute.
        self.fields["from"] = MomentField("from", label="From", zone=zone)
        self.fields["to"] = MomentField("to", label="To (exclusive)", zone=zone, is_end=True)
        for parameter, label, column in (*SESSIONS, *FILTERED_BY):
            self.fields[parameter] = dimension_field(column, label=label)

    def clean(self) -> dict[str, Any]:
        """Refuse what contradicts itself, and look up what the values of dimensions match.

        The user may be an email address.
        """
        values = self.cleaned_data
        since, until = (values.get(name) for name in MOMENTS)
        if since and until and since >= until:
            self.add_error("from", f"{ORDER}.")
        if values.get("period") and (since or until):
            self.add_error("period", "Choose either a period or from and to.")
        if not self.errors:
            names = {column: name for field, _, column in FILTERED_BY if (name := values[field])}
            with refusal_in(self):
                self._query = with_names(
                    self._without_names(values), names, organization_id=self._organization_id
                )
        return values

    def clean_before(self) -> Cursor | None:
        return _cursor(self.cleaned_data["before"])

    def clean_after(self) -> Cursor | None:
        return _cursor(self.cleaned_data["after"])

    def clean_waiting(self) -> list[UUID]:
        """Return the ids of the requests whose end is waited for."""
        text: str = self.cleaned_data["waiting"]
        try:
            return [UUID(request_id) for request_id in filter(None, text.split(","))]
        except ValueError as exc:
            raise forms.ValidationError("Not a list of valid request ids.") from exc

    def folded_fields(self) -> list[forms.BoundField]:
        """The fields that the page folds away."""
        return [self[name] for name in FOLDED]

    def is_filtered(self) -> bool:
        """Whether a valid form leaves anything out."""
        return any(value for name, value in self.cleaned_data.items() if name not in PLACES)

    def unfolds(self) -> bool:
        """Whether one of the folded fields is in use or in error."""
        return any(self[name].value() or self[name].errors for name in FOLDED)

    @property
    def query(self) -> RequestQuery:
        """The query of a valid form. Periods are of the organization's whole days."""
        return self._query

    def _without_names(self, values: dict[str, Any]) -> RequestQuery:
        return RequestQuery(
            since=values["from"] or _since(values["period"], self._moment, self._zone),
            until=values["to"],
            before=values["before"],
            after=values["after"],
            request_id=values["requestId"],
            status=values["status"] or None,
            code=values["code"] or None,
            model=values["model"] or None,
            provider=values["provider"] or None,
            key_id=values["keyId"],
            session_id=values["sessionId"] or None,
            agent_id=values["agentId"] or None,
            estimated=bool(values["estimated"]),
            watched=bool(values["watched"]),
        )

    def parameters(self, *, before: Cursor | None = None) -> str:
        """Return a valid form as the part of a URL, with another place in the list."""
        chosen = {
            name: f"{value}"
            for name, value in self.cleaned_data.items()
            if value and name not in PLACES
        }
        chosen |= {name: self.data[name] for name in MOMENTS if name in chosen}  # as written
        return urlencode(chosen | ({"before": f"{before}"} if before else {}))


def _cursor(text: str) -> Cursor | None:
    try:
        return Cursor.from_text(text) if text else None
    except (ValueError, OverflowError) as exc:
        raise forms.ValidationError("Not a valid cursor.") from exc


def _since(period: str, moment: datetime, zone: ZoneInfo) -> datetime | None:
    if not period:
        return None
    today = day_around(moment, zone)[0].astimezone(zone).date()
    return first_instant(today - timedelta(days=DAYS[period] - 1), zone)
