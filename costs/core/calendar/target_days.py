"""Working days of the European Central Bank: the days on which it publishes reference rates.

TARGET, its payment system, is closed on Saturdays, Sundays, 1 January, Good Friday, Easter Monday,
1 May, 25 and 26 December, from 2002 until further notice:
https://www.ecb.europa.eu/press/pr/date/2000/html/pr001214_4.en.html
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from typing import Final

_CLOSED: Final = frozenset({(1, 1), (5, 1), (12, 25), (12, 26)})  # month and day, every year
_SATURDAY: Final = 5
_DAY: Final = timedelta(days=1)


def is_working_day(day: date) -> bool:
    """Whether reference rates are published on a day."""
    if day.weekday() >= _SATURDAY or (day.month, day.day) in _CLOSED:
        return False
    return day - _easter(day.year) not in (timedelta(days=-2), timedelta(days=1))


def working_days_since(day: date, today: date) -> int:
    """Return how many working days have begun after `day`, `today` included."""
    days = (day + _DAY * number for number in range(1, (today - day).days + 1))
    return sum(map(is_working_day, days))


@lru_cache(maxsize=64)
def _easter(year: int) -> date:
    """Return Easter Sunday: J.-M. Oudin's algorithm, https://aa.usno.navy.mil/faq/easter."""
    century = year // 100
    golden = year % 19
    shift = (century - 17) // 25
    moon = (century - century // 4 - (century - shift) // 3 + 19 * golden + 15) % 30
    moon -= (moon // 28) * (1 - (moon // 28) * (29 // (moon + 1)) * ((21 - golden) // 11))
    weekday = (year + year // 4 + moon + 2 - century + century // 4) % 7
    sunday = moon - weekday  # in days after 28 March
    month = 3 + (sunday + 40) // 44
    return date(year, month, sunday + 28 - 31 * (month // 4))
