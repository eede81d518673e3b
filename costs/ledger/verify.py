"""Recomputes every balance of the ledger from its rows, and reports the differences.

Reads one snapshot of the database while the gateway keeps running, and sums in SQL, so that a
million rows need no memory here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.utils.timezone import now

from costs.ledger.hours.checks import HOUR_CHECKS
from costs.ledger.stores.tables import LINE_NAMES, SESSION_NAMES

# Findings shown per check.
FINDINGS_MAX: Final = 200
# How long after its deadline a hold may still wait for a reaper.
REAPED_WITHIN: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One rule: a SELECT of the rows that violate it, and the sentence for such a row.

    The first column is the id of the row that the sentence is about; the sentence has columns in
    braces.
    """

    name: str
    select: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A row that violates a rule, in one sentence."""

    check: str
    id: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The findings; `notes` violate no rule. `counts` are the rows that were checked."""

    counts: dict[str, int]
    findings: list[Finding]
    notes: list[Finding]


# A balance counts min(charged, amount) as settled, without what an adjustment has added, and what
# is above as overrun.
PERIOD_BALANCES: Final = """
    SELECT p.id, p.scope, p.starts_at, p.held_nanoeur, p.settled_nanoeur, p.overrun_nanoeur,
           COALESCE(s.held, 0) AS held, COALESCE(s.settled, 0) AS settled,
           COALESCE(s.overrun, 0) AS overrun
    FROM period p LEFT JOIN (
        SELECT hp.period_id,
            SUM(CASE WHEN h.state = 'held' THEN h.amount_nanoeur ELSE 0 END) AS held,
            SUM(h.counted) AS settled, SUM(h.charged_nanoeur - h.counted) AS overrun
        FROM hold_period hp JOIN (
            SELECT id, state, amount_nanoeur, charged_nanoeur,
                CASE WHEN charged_nanoeur - added < amount_nanoeur THEN charged_nanoeur - added
                    ELSE amount_nanoeur END AS counted
            FROM (
                SELECT hold.id, state, hold.amount_nanoeur, charged_nanoeur,
                    CASE WHEN a.amount_nanoeur > 0 THEN a.amount_nanoeur ELSE 0 END AS added
                FROM hold LEFT JOIN cost_event a
                    ON a.hold_id = hold.id AND a.kind = 'adjustment'
            ) with_added
        ) h ON h.id = hp.hold_id GROUP BY hp.period_id
    ) s ON s.period_id = p.id
    WHERE p.held_nanoeur <> COALESCE(s.held, 0) OR p.settled_nanoeur <> COALESCE(s.settled, 0)
       OR p.overrun_nanoeur <> COALESCE(s.overrun, 0)
"""
HOLD_EVENTS: Final = """
    SELECT h.id, h.state, h.charged_nanoeur, COALESCE(e.charged, 0) AS charged,
           COALESCE(e.estimated, 0) AS estimated, COALESCE(e.usages, 0) AS usages,
           COALESCE(e.bounds, 0) AS bounds, COALESCE(e.corrections, 0) AS corrections,
           COALESCE(e.adjustments, 0) AS adjustments
    FROM hold h LEFT JOIN (
        SELECT hold_id, SUM(amount_nanoeur) AS charged, SUM(estimated_nanoeur) AS estimated,
            SUM(CASE WHEN kind = 'usage' THEN 1 ELSE 0 END) AS usages,
            SUM(CASE WHEN kind IN ('bound', 'estimate') THEN 1 ELSE 0 END) AS bounds,
            SUM(CASE WHEN kind = 'correction' THEN 1 ELSE 0 END) AS corrections,
            SUM(CASE WHEN kind = 'adjustment' THEN 1 ELSE 0 END) AS adjustments
        FROM cost_event GROUP BY hold_id
    ) e ON e.hold_id = h.id
    WHERE h.charged_nanoeur <> COALESCE(e.charged, 0)
      OR COALESCE(e.estimated, 0) NOT IN (
          h.charged_nanoeur, CASE WHEN h.state = 'unknown' THEN h.charged_nanoeur ELSE 0 END)
      OR (e.adjustments > 0 AND (h.state <> 'settled' OR e.adjustments > 1 OR e.estimated <> 0))
      OR NOT CASE
        WHEN h.state IN ('held', 'released') THEN e.hold_id IS NULL
        WHEN e.hold_id IS NULL THEN 1 = 0
        WHEN h.state = 'unknown' THEN e.usages = 0 AND e.bounds = 1 AND e.corrections = 0
        ELSE (e.usages = 1 AND e.bounds = 0 AND e.corrections = 0)
          OR (e.usages = 0 AND e.bounds = 1 AND e.corrections = 1) END
"""
_NAMED: Final = ", ".join(LINE_NAMES)


def _lines(table: str, names: str, where: str = "") -> str:
    """Return the lines of days that are not the sums of their cost events.

    Both sides in one pass, the lines as negative events: each group must add up to zero.
    """
    return f"""
    SELECT period_id, {names}, SUM(amount) AS amount, SUM(estimated) AS estimated,
           SUM(events) AS events, SUM(requests) AS requests,
           SUM(input) AS input, SUM(output) AS output
    FROM (
        SELECT p.id AS period_id, {names}, e.amount_nanoeur AS amount,
            e.estimated_nanoeur AS estimated, 1 AS events,
            CASE WHEN e.kind IN ('correction', 'adjustment') THEN 0 ELSE 1 END AS requests,
            COALESCE(e.input_tokens, 0) AS input, COALESCE(e.output_tokens, 0) AS output
        FROM cost_event e JOIN hold_period hp ON hp.hold_id = e.hold_id
        JOIN period p ON p.id = hp.period_id AND p.scope = 'org' {where}
        UNION ALL
        SELECT period_id, {names}, -amount_nanoeur, -estimated_nanoeur, -events, -requests,
            -input_tokens, -output_tokens FROM {table}
    ) b GROUP BY period_id, {names}
    HAVING SUM(amount) <> 0 OR SUM(estimated) <> 0 OR SUM(events) <> 0 OR SUM(requests) <> 0
        OR SUM(input) <> 0 OR SUM(output) <> 0
"""  # noqa: S608  our own names


def _days(table: str) -> str:
    """Return the lines of days that are dated otherwise than their periods."""
    return f"""
        SELECT d.id, d.day, d.period_id, p.starts_on FROM {table} d
        LEFT JOIN period p ON p.id = d.period_id
        WHERE p.id IS NULL OR p.scope <> 'org' OR p.org_id <> d.org_id OR p.starts_on <> d.day
    """  # noqa: S608  our own names


DAILY_LINES: Final = _lines("daily_cost", _NAMED)
SESSION_LINES: Final = _lines(
    "session_cost", f"{_NAMED}, {', '.join(SESSION_NAMES)}", "WHERE e.session_id IS NOT NULL"
)
_MONTH_OF: Final = "CAST(SUBSTR(CAST(day AS TEXT), 1, 7) AS TEXT)"
MONTHLY_LINES: Final = f"""
    SELECT org_id, month, {_NAMED}, SUM(amount_nanoeur) AS amount,
           SUM(estimated_nanoeur) AS estimated, SUM(events) AS events, SUM(requests) AS requests
    FROM (
        SELECT org_id, {_MONTH_OF} AS month, {_NAMED}, amount_nanoeur, estimated_nanoeur,
            events, requests, input_tokens, output_tokens FROM daily_cost
        UNION ALL
        SELECT org_id, {_MONTH_OF.replace("day", "month")}, {_NAMED}, -amount_nanoeur,
            -estimated_nanoeur, -events, -requests, -input_tokens, -output_tokens FROM monthly_cost
    ) b GROUP BY org_id, month, {_NAMED}
    HAVING SUM(amount_nanoeur) <> 0 OR SUM(estimated_nanoeur) <> 0 OR SUM(events) <> 0
        OR SUM(requests) <> 0
        OR SUM(input_tokens) <> 0 OR SUM(output_tokens) <> 0
"""  # noqa: S608  our own names
CHECKS: Final = (
    Check(
        name="daily_cost",
        select=DAILY_LINES,
        sentence="period {period_id}: cost events minus daily lines for {model} of {provider} must "
        "be zero; they are {amount} n€ ({estimated} estimated), {events} events, {requests} "
        "requests, {input} input and {output} output tokens",
    ),
    Check(
        name="session_cost",
        select=SESSION_LINES,
        sentence="period {period_id}: cost events minus lines of session {session_id} for {model} "
        "must be zero; they are {amount} n€ ({estimated} estimated), {events} events, {requests} "
        "requests, {input} input and {output} output tokens",
    ),
    Check(
        name="monthly_cost",
        select=MONTHLY_LINES,
        sentence="{month} of organization {org_id}: daily minus monthly lines for {model} must be "
        "zero; they are {amount} n€ ({estimated} estimated), {events} events and {requests} "
        "requests",
    ),
    Check(
        name="daily_cost_day",
        select=_days("daily_cost"),
        sentence="daily line {id} is dated {day}, but its period {period_id} starts on {starts_on} "
        "or is not a day of the organization",
    ),
    Check(
        name="session_cost_day",
        select=_days("session_cost"),
        sentence="session line {id} is dated {day}, but its period {period_id} starts on "
        "{starts_on} or is not a day of the organization",
    ),
    Check(
        name="period_balance",
        select=PERIOD_BALANCES,
        sentence="period {id} ({scope} from {starts_at}) has held {held_nanoeur}, settled "
        "{settled_nanoeur}, overrun {overrun_nanoeur} n€; its holds add up to {held}, {settled}, "
        "{overrun}",
    ),
    Check(
        name="period_limit",
        # The limit is written only with a hold that fits it, and only an overrun can follow.
        select="""
            SELECT id, scope, starts_at, limit_nanoeur, settled_nanoeur, held_nanoeur FROM period
            WHERE settled_nanoeur + held_nanoeur > limit_nanoeur
        """,
        sentence="period {id} ({scope} from {starts_at}) exceeds its limit of "
        "{limit_nanoeur} n€: settled {settled_nanoeur}, held {held_nanoeur}",
    ),
    Check(
        name="period_overlap",
        select="""
            SELECT id, scope, ends_at, next_id, next_starts_at FROM (
                SELECT id, scope, ends_at,
                    LEAD(id) OVER days AS next_id, LEAD(starts_at) OVER days AS next_starts_at
                FROM period WINDOW days AS (PARTITION BY org_id, scope ORDER BY starts_at)
            ) d WHERE next_starts_at < ends_at
        """,
        sentence="period {id} ({scope}) ends at {ends_at} and overlaps period {next_id}, which "
        "starts at {next_starts_at}",
    ),
    Check(
        name="hold_events",
        select=HOLD_EVENTS,
        sentence="hold {id} is {state} and charged {charged_nanoeur} n€; its events add up to "
        "{charged} n€, {estimated} estimated ({usages} usage, {bounds} bound or estimate, "
        "{corrections} correction, {adjustments} adjustment)",
    ),
    *(Check(name=name, select=select, sentence=sentence) for name, select, sentence in HOUR_CHECKS),
    Check(
        name="hold_charge",
        select="""
            SELECT id, state, amount_nanoeur, charged_nanoeur FROM hold
            WHERE (state = 'unknown' AND charged_nanoeur > amount_nanoeur AND NOT EXISTS (
                SELECT 1 FROM cost_event WHERE hold_id = hold.id AND kind = 'estimate'))
               OR (state = 'held') <> (resolved_at IS NULL)
        """,
        sentence="hold {id} is {state} with {charged_nanoeur} of {amount_nanoeur} n€ charged, "
        "which is not a valid state of a hold",
    ),
    Check(
        name="hold_without_period",
        select="""
            SELECT h.id, h.state FROM hold h
            WHERE NOT EXISTS (SELECT 1 FROM hold_period hp WHERE hp.hold_id = h.id)
        """,
        sentence="hold {id} ({state}) counts in no period",
    ),
    Check(
        name="hold_period",
        select="""
            SELECT hp.hold_id, hp.period_id, CASE
                WHEN h.id IS NULL THEN 'the hold does not exist'
                WHEN p.id IS NULL THEN 'the period does not exist'
                WHEN h.org_id <> p.org_id THEN 'the period belongs to another organization'
                ELSE 'the hold was made outside the period' END AS why
            FROM hold_period hp
            LEFT JOIN hold h ON h.id = hp.hold_id LEFT JOIN period p ON p.id = hp.period_id
            WHERE h.id IS NULL OR p.id IS NULL OR h.org_id <> p.org_id
               OR h.held_at < p.starts_at OR h.held_at >= p.ends_at
        """,
        sentence="hold {hold_id} counts in period {period_id}, but {why}",
    ),
    Check(
        name="hold_counted_twice",
        select="""
            SELECT hp.hold_id, p.scope, COUNT(*) AS periods FROM hold_period hp
            JOIN period p ON p.id = hp.period_id GROUP BY hp.hold_id, p.scope HAVING COUNT(*) > 1
        """,
        sentence="hold {hold_id} counts in {periods} periods of {scope}",
    ),
    Check(
        name="rate_bucket",
        select="""
            SELECT b.id, b.scope, b.in_flight, COALESCE(s.held, 0) AS held FROM rate_bucket b
            LEFT JOIN (
                SELECT hb.bucket_id, COUNT(*) AS held FROM hold h
                JOIN hold_bucket hb ON hb.hold_id = h.id WHERE h.state = 'held'
                GROUP BY hb.bucket_id
            ) s ON s.bucket_id = b.id
            WHERE b.in_flight <> COALESCE(s.held, 0)
        """,
        sentence="rate bucket {id} ({scope}) has {in_flight} calls in flight; {held} holds are "
        "held of it",
    ),
    Check(
        name="hold_bucket",
        select="""
            SELECT hb.hold_id, hb.bucket_id FROM hold_bucket hb
            LEFT JOIN hold h ON h.id = hb.hold_id LEFT JOIN rate_bucket b ON b.id = hb.bucket_id
            WHERE h.id IS NULL OR b.org_id <> h.org_id OR (b.id IS NULL AND h.state = 'held')
        """,
        sentence="hold {hold_id} takes from rate bucket {bucket_id}, but one of them does not "
        "exist or belongs to another organization",
    ),
    Check(
        name="event_without_hold",
        select="""
            SELECT e.id, e.amount_nanoeur, e.hold_id FROM cost_event e
            LEFT JOIN hold h ON h.id = e.hold_id
            WHERE e.source = 'AI' AND (
                h.id IS NULL OR h.org_id <> e.org_id OR h.request_id <> e.request_id)
        """,
        sentence="cost event {id} of {amount_nanoeur} n€ does not match the organization and "
        "request of hold {hold_id}",
    ),
)
OVERRUN: Final = Check(
    name="overrun",
    select="""
        SELECT id, scope, starts_at, limit_nanoeur, overrun_nanoeur FROM period
        WHERE overrun_nanoeur > 0
          AND settled_nanoeur + held_nanoeur + overrun_nanoeur > limit_nanoeur
    """,
    sentence="period {id} ({scope} from {starts_at}) exceeds its limit of {limit_nanoeur} n€, "
    "because providers billed {overrun_nanoeur} n€ above their holds",
)
COUNTED: Final = ("period", "hold", "hold_period", "cost_event", "daily_cost", "session_cost")


def verify() -> Report:
    """Compare every balance with the sum of its rows."""
    with snapshot() as cursor:
        return Report(
            counts={table: count(cursor, table) for table in COUNTED},
            findings=find(cursor, CHECKS),
            notes=find(cursor, (OVERRUN, overdue(now()))),
        )


def overdue(moment: datetime) -> Check:
    """Return the rule that at `moment` no hold waits for a reaper any more."""
    literal = connection.ops.adapt_datetimefield_value(moment - REAPED_WITHIN)
    return Check(
        name="pending_too_long",
        select=f"""
            SELECT h.id, h.request_id, h.deadline_at FROM hold h
            WHERE h.state = 'held' AND h.deadline_at < '{literal}'
        """,  # noqa: S608  a moment of our own, not a caller's text
        sentence="request {request_id} is still pending after its deadline {deadline_at}; "
        "`manage.py ledger reap` charges it",
    )


@contextmanager
def snapshot() -> Iterator[CursorWrapper]:
    """Yield a cursor whose statements all see one snapshot of the database.

    It takes no lock that blocks a writer: not Django's own transaction, which on SQLite would
    start with the writer's lock.
    """
    with connection.cursor() as cursor:
        if connection.in_atomic_block:
            yield cursor
            return
        is_postgres = connection.vendor == "postgresql"
        cursor.execute(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if is_postgres else "BEGIN"
        )
        try:
            yield cursor
        finally:
            cursor.execute("ROLLBACK")


def find(cursor: CursorWrapper, checks: Sequence[Check]) -> list[Finding]:
    """Return the violations of the rules, at most FINDINGS_MAX of each."""
    return [finding for check in checks for finding in _find(cursor, check)]


def count(cursor: CursorWrapper, table: str) -> int:
    """Return how many rows a table has."""
    cursor.execute(f"SELECT COUNT(*) FROM {table}")  # noqa: S608  one of our own names
    found: int = cursor.fetchone()[0]
    return found


def _find(cursor: CursorWrapper, check: Check) -> Iterator[Finding]:
    cursor.execute(f"{check.select} LIMIT {FINDINGS_MAX + 1}")
    names = [name for name, *_ in cursor.description]
    for position, row in enumerate(cursor.fetchall()):
        if position == FINDINGS_MAX:
            sentence = f"only the first {FINDINGS_MAX} findings of {check.name} are shown"
            yield Finding(check=check.name, id="", sentence=sentence)
            return
        sentence = check.sentence.format_map(dict(zip(names, row, strict=True)))
        yield Finding(check=check.name, id=str(row[0]), sentence=sentence)
