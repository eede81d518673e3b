"""Rows of the price list that cannot be right, as they were before the database refused them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import connection

from tests.databases import by_hand

_CONSTRAINTS: Final = {
    "rate": ("rate_usable", "rate_not_negative"),
    "price_factor": ("price_factor_usable", "price_factor_range"),
    "exchange_rate": ("exchange_rate_positive",),
}


@contextmanager
def walls_down() -> Iterator[None]:
    """Let the database take any row of the price list meanwhile."""
    if connection.vendor == "postgresql":
        yield from _without_constraints()
    else:
        yield from _without_triggers()


def _without_constraints() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) "
            "FROM pg_constraint WHERE conname = ANY(%s)",
            [[name for names in _CONSTRAINTS.values() for name in names]],
        )
        kept = cursor.fetchall()
    for table, name, _ in kept:
        by_hand(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    try:
        yield
    finally:
        for table, name, check in kept:
            check = check.removesuffix(" NOT VALID")
            by_hand(f"ALTER TABLE {table} ADD CONSTRAINT {name} {check} NOT VALID")


def _without_triggers() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE '%usable%'"
        )
        kept = cursor.fetchall()
    for name, _ in kept:
        by_hand(f"DROP TRIGGER {name}")
    by_hand("PRAGMA ignore_check_constraints = ON")
    try:
        yield
    finally:
        by_hand("PRAGMA ignore_check_constraints = OFF")
        for _, sql in kept:
            by_hand(sql)
