"""Moments as people and programs write them: a date, or a date and time with minutes."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from costs.core.calendar.periods import first_instant

EARLIEST: Final = date(2000, 1, 1)
LATEST: Final = date(2199, 12, 31)
_HOUR: Final = r"(?:[01]\d|2[0-3]):[0-5]\d"
_DATE: Final = r"\d{4}-\d{2}-\d{2}"
# ISO 8601, extended format. Seconds and the offset may be omitted.
PATTERN: Final = rf"^{_DATE}(?:T{_HOUR}(?::[0-5]\d(?:\.\d{{1,6}})?)?(?:Z|[+-]{_HOUR})?)?$"
_PATTERN: Final = re.compile(PATTERN.removeprefix("^").removesuffix("$"), re.ASCII)


class InvalidMoment(ValueError):
    """The text is no moment; the message continues a sentence that begins with its name."""


def moment_from(text: str, zone: ZoneInfo, *, is_end: bool) -> datetime:
    """Return the instant in UTC. A date is its first instant or, as an end, that of the next day.

    A time without an offset is in `zone`. One that its clocks skip or show twice raises
    InvalidMoment: with an offset it is unambiguous.
    """
    if _PATTERN.fullmatch(text) is None:
        raise InvalidMoment(
            "must be a date, or a date and time, such as 2026-11-29, 2026-11-29T14:30 or "
            "2026-11-29T14:30+01:00 (in a URL, + is written %2B)"
        )
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as exc:
        raise InvalidMoment(f"must be a date that exists, not {text}") from exc
    if not EARLIEST <= parsed.date() <= LATEST:
        raise InvalidMoment(f"must be between {EARLIEST} and {LATEST}")
    if "T" not in text:
        return first_instant(parsed.date() + timedelta(days=is_end), zone)
    return parsed.astimezone(UTC) if parsed.tzinfo else _in_zone(parsed, zone)


def _in_zone(local: datetime, zone: ZoneInfo) -> datetime:
    both = [local.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
    first, second = (each.astimezone(UTC) for each in both)
    if first == second:
        return first
    shown = local.isoformat(timespec="minutes")
    if first > second:
        raise InvalidMoment(f"must be a time that exists: clocks in {zone} skip {shown}")
    texts = " or ".join(each.isoformat(timespec="minutes") for each in both)
    raise InvalidMoment(f"must have an offset, {texts}: clocks in {zone} show {shown} twice")
