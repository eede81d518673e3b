"""How many alerts are open, for the header of every page."""

from __future__ import annotations

from django import template
from django.db import Error as DatabaseUnavailable

from gateway.alerts.reports import OPEN_COUNTED_MAX, open_count
from orgs.models import Organization

register = template.Library()


@register.simple_tag
def open_alerts(organization: Organization) -> str:
    """Return the number of open alerts, "" for none.

    Error pages have a header too: a database that is away is no second error.
    """
    try:
        count = open_count(organization.pk)
    except DatabaseUnavailable:
        return ""
    if not count:
        return ""
    return f"{count}" if count < OPEN_COUNTED_MAX else f"{OPEN_COUNTED_MAX - 1}+"
