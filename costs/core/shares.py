"""Shares and changes in percent, exact to a tenth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Above this percentage a factor is shown.
PERCENT_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Change:
    """The change from a previous amount; `tone` is more, less or same."""

    text: str
    tone: str


def share_percent(part: int, whole: int) -> str | None:
    """Return the part in percent of the whole, such as `12.5`, or None if the whole is 0."""
    if whole <= 0:
        return None
    return _tenths(part, whole).removeprefix("+")


def change(now: int, before: int | None) -> Change | None:
    """Return the change from `before` to `now`, or None where there is nothing to compare."""
    if before is None or (now == 0 and before == 0):
        return None
    if before <= 0:
        return Change("new" if now > before else "less", "more" if now > before else "less")
    if now >= before * PERCENT_MAX // 100 + before:
        return Change(f"×{(2 * now + before) // (2 * before)}", "more")  # noqa: RUF001  intended
    tenths = _tenths(now - before, before)
    if tenths in ("0.0", "+0.0"):
        return Change("0.0\N{NO-BREAK SPACE}%", "same")
    signed = tenths.replace("-", "\N{MINUS SIGN}")
    return Change(f"{signed}\N{NO-BREAK SPACE}%", "more" if now > before else "less")


def _tenths(part: int, whole: int) -> str:
    """Return the percentage with one decimal and its sign, a half rounded away from zero."""
    per_mille = (2 * abs(part) * 1000 + whole) // (2 * whole)
    sign = "" if not per_mille else "-" if part < 0 else "+"
    return f"{sign}{per_mille // 10}.{per_mille % 10}"
