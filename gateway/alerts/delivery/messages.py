"""Messages of alerts: as JSON for a webhook, as an email."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson

from costs.core.money import euros
from gateway.models import Alert
from orgs.models import Organization

# What an alert's kind is called in a payload.
EVENTS: Final = {
    Alert.Kind.BUDGET: "budget.threshold",
    Alert.Kind.FORECAST: "budget.forecast",
    Alert.Kind.DAY_LIMIT: "day_limit.threshold",
    Alert.Kind.SPIKE: "cost.spike",
    Alert.Kind.REFUSAL: "limit.refused",
    Alert.Kind.EXCHANGE_RATE: "exchange_rate.stale",
    Alert.Kind.PROVIDER_CREDENTIALS: "provider.credentials",
    Alert.Kind.ABOVE_HOLD: "bill.above_hold",
}
TEST: Final = "test"
SUBJECT_MAX_CHARS: Final = 150
# Names in a text are anybody's: callers choose teams and apps. What chat services read as markup,
# a mention (`@all`) or a link is replaced by its full-width form, which they show and do not read.
# In Slack's text `&`, `<` and `>` are escaped. A `_` inside a word, as in team_1, marks nothing.
_LINK: Final = re.compile(r":(?=//)|(?<=\bwww)\.", re.IGNORECASE)
_MARKUP: Final = re.compile(r"[*~`\[\]|#@\\]|(?<![^\W_])_|_(?![^\W_])")
_FULL_WIDTH: Final = 0xFEE0  # from an ASCII sign to its full-width form
_SLACK: Final = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertMessage:
    """The content of a delivery. `url` is the alert's page; it never has a prompt or an answer."""

    id: UUID
    event: str
    sentence: str
    organization: str
    organization_slug: str
    at: datetime
    url: str
    percent: int | None = None
    budget_id: UUID | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)


def of_alert(alert: Alert, organization: Organization, *, base_url: str) -> AlertMessage:
    """Return the message of an alert."""
    return AlertMessage(
        id=alert.pk,
        event=EVENTS[Alert.Kind(alert.kind)],
        sentence=one_line(alert.sentence),
        organization=one_line(organization.name),
        organization_slug=organization.slug,
        at=alert.raised_at,
        url=f"{base_url}/costs/alerts?alertId={alert.pk}&org={organization.slug}",
        percent=alert.percent,
        budget_id=alert.budget_id,
        figures=alert.figures,
    )


def of_test(
    delivery_id: UUID, organization: Organization, now: datetime, *, base_url: str
) -> AlertMessage:
    """Return the message of a test."""
    return AlertMessage(
        id=delivery_id,
        event=TEST,
        sentence="This is a test alert of Pulse AI Gateway.",
        organization=one_line(organization.name),
        organization_slug=organization.slug,
        at=now,
        url=f"{base_url}/costs/alerts?org={organization.slug}",
    )


def as_json(message: AlertMessage) -> bytes:
    """Return the webhook's body: `text` is what Slack and its likes show."""
    text = for_chat(f"{message.organization}: {message.sentence}")
    costs_query = message.figures.get("costs_query")
    body: dict[str, Any] = {
        "text": f"{text}\n{message.url}",
        "id": str(message.id),
        "event": message.event,
        "sentence": message.sentence,
        "organization": {"name": message.organization, "slug": message.organization_slug},
        "occurredAt": message.at.astimezone(UTC).isoformat(timespec="seconds"),
        "url": message.url,
    }
    if message.percent is not None:
        body["percent"] = message.percent
    if message.budget_id is not None:
        body["budgetId"] = str(message.budget_id)
    body |= {_camel(name): value for name, value in _amounts(message.figures).items()}
    if costs_query:
        body["costsUrl"] = _costs_url(message, costs_query)
    return orjson.dumps(body)


def as_email(message: AlertMessage) -> tuple[str, str]:
    """Return the subject and the text."""
    subject = f"{message.organization}: {message.sentence}"
    if len(subject) > SUBJECT_MAX_CHARS:
        subject = f"{subject[: SUBJECT_MAX_CHARS - 1]}…"
    costs_query = message.figures.get("costs_query")
    costs = _costs_url(message, costs_query) if costs_query else ""
    lines = [
        without_links(message.sentence),
        "",
        f"View and acknowledge: {message.url}",
        *([f"Costs: {costs}"] if costs else []),
        "",
        f"Organization: {without_links(message.organization)}",
        f"Alert: {message.id}",
    ]
    return subject, "\n".join(lines) + "\n"


def one_line(text: str) -> str:
    """Return the text as one line of printable characters: a name cannot add lines of its own."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def without_links(text: str) -> str:
    """Return the text so that nothing in it is shown as a link, whatever a name contains."""
    return _LINK.sub(_full_width, text)


def for_chat(text: str) -> str:
    """Return the text so that chat services show it as it is: no markup, mention or link."""
    text = _MARKUP.sub(_full_width, without_links(text))
    for sign, escaped in _SLACK:
        text = text.replace(sign, escaped)
    return text


def _full_width(sign: re.Match[str]) -> str:
    return chr(ord(sign[0]) + _FULL_WIDTH)


def _costs_url(message: AlertMessage, costs_query: str) -> str:
    base_url = message.url.partition("/costs/")[0]
    return f"{base_url}/costs?{costs_query}&org={message.organization_slug}"


def _amounts(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures with amounts in euro, as exact texts."""
    shown: dict[str, Any] = {}
    for name, value in figures.items():
        if name.endswith("_nanoeur"):
            shown[name.removesuffix("nanoeur") + "eur"] = f"{euros(int(value)):f}"
        elif name != "costs_query" and value is not None:
            shown[name] = value
    return shown


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
