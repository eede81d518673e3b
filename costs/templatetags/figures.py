"""Template filters for money, counts and instants, each with its exact value."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from costs.core.money import euros, format_eur

register = template.Library()

NOTHING = "\N{EN DASH}"
ESTIMATED = (
    "The usage is unknown: charged at the most that the provider can have produced. "
    "Or it has no price: charged at the highest known price. "
    "Or it is priced by the hour: charged by its tokens until the hour is divided."
)
_NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


@register.filter
def eur(nanoeur: int | None) -> str | SafeString:
    """Show an amount as `0.0123 €`; the element keeps the nano-euro and shows all decimals."""
    if nanoeur is None:
        return NOTHING
    exact = f"{euros(nanoeur):f} EUR exactly"
    # Only digits: a table has hundreds of them, and escaping would take half of its time.
    return mark_safe(f'<data value="{nanoeur}" title="{exact}">{short_eur(nanoeur)}</data>')  # noqa: S308


def short_eur(nanoeur: int) -> str:
    """Return the amount as `0.0123 €` or `1,024.02 €`, with the digits that are significant."""
    amount_eur = Decimal(format_eur(nanoeur).removesuffix(" EUR"))
    return f"{amount_eur:,f}{_NO_BREAK_SPACE}€"


@register.simple_tag
def estimated(word: str = "estimated") -> SafeString:
    """Show the mark of a cost that is an estimate, with what that means."""
    return format_html('<span title="{}">{}</span>', ESTIMATED, word)


@register.filter
def count(number: int | None) -> str:
    """Show a count as `12,345`."""
    return NOTHING if number is None else f"{number:,}"


@register.filter
def instant(moment: datetime | None, zone: ZoneInfo) -> str | SafeString:
    """Show an instant in the organization's time zone; the element keeps it exactly, in UTC."""
    if moment is None:
        return NOTHING
    local, exact = moment.astimezone(zone), moment.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        exact.isoformat(),
        f"{exact:%Y-%m-%d %H:%M:%S.%f}",
        f"{local:%-d %b %Y, %H:%M:%S}",
    )


@register.filter
def clock(moment: datetime, zone: ZoneInfo) -> str:
    """Show the time of day in the organization's time zone, as `14:05`."""
    return f"{moment.astimezone(zone):%H:%M}"
