"""Compares the audit log with the ledger: every call has its row, its hold and its charge.

Reads one snapshot of the database while the gateway works on; see `costs.ledger.verify`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.db.backends.utils import CursorWrapper
from django.utils.timezone import now

from costs.core.money import euros
from costs.ledger.verify import Check, Finding, find, overdue, snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was looked at and what was found. Amounts are in nano-euro."""

    rows_by_status: dict[str, int]
    charged_by_rows: int
    charged_by_events: int
    estimated: int
    held: int
    findings: list[Finding]


# A request may have several holds, one for each attempt: all but the last are released, and the
# last too if the call was free at the vendor. A stream that the gateway cut is an answer of unknown
# usage.
STATUS_AND_STATE: Final = """
    SELECT l.id, l.status, COALESCE(h.holds, 0) AS holds, COALESCE(h.state, 'none') AS state
    FROM ai_request_log l LEFT JOIN (
        SELECT request_id,
            COUNT(*) FILTER (WHERE state <> 'released') AS holds,
            COALESCE(MIN(state) FILTER (WHERE state <> 'released'), 'released') AS state,
            MAX(amount_nanoeur) AS most
        FROM hold GROUP BY request_id
    ) h ON h.request_id = l.id
    WHERE COALESCE(h.holds, 0) > 1 OR NOT CASE l.status
        WHEN 'pending' THEN COALESCE(h.state, '') = 'held'
        WHEN 'ok' THEN COALESCE(h.state, '') = 'settled'
            OR (h.state = 'unknown' AND COALESCE(l.usage ->> 'cut_by', '') = 'gateway')
            OR (COALESCE(h.state, '') = 'released' AND h.most = 0)
        WHEN 'unknown' THEN COALESCE(h.state, '') = 'unknown'
        WHEN 'error' THEN COALESCE(h.state, 'settled') IN ('settled', 'released')
        ELSE h.state IS NULL END
"""
COSTS: Final = """
    SELECT l.id, l.status, l.cost_nanoeur, l.estimated_nanoeur,
           COALESCE(e.charged, 0) AS charged, COALESCE(e.estimated, 0) AS estimated
    FROM ai_request_log l LEFT JOIN (
        SELECT request_id, SUM(amount_nanoeur) AS charged, SUM(estimated_nanoeur) AS estimated
        FROM cost_event
        WHERE source = 'AI' GROUP BY request_id
    ) e ON e.request_id = l.id
    WHERE COALESCE(l.cost_nanoeur, 0) <> COALESCE(e.charged, 0)
       OR COALESCE(l.estimated_nanoeur, 0) <> COALESCE(e.estimated, 0)
       OR (l.status = 'pending') <> (l.cost_nanoeur IS NULL)
       OR (l.status = 'pending') <> (l.completed_at IS NULL)
"""
CHECKS: Final = (
    Check(
        name="hold_without_row",
        select="""
            SELECT h.id, h.state, h.amount_nanoeur, h.request_id FROM hold h
            LEFT JOIN ai_request_log l ON l.id = h.request_id
            WHERE l.id IS NULL OR l.org_id <> h.org_id
        """,
        sentence="hold {id} ({state}, {amount_nanoeur} n€) has no audit row {request_id} in its "
        "organization",
    ),
    Check(
        name="status",
        select=STATUS_AND_STATE,
        sentence="request {id} is {status}, and it has {holds} hold(s), in state {state}",
    ),
    Check(
        name="hold_amount",
        select="""
            SELECT l.id, l.hold_nanoeur, h.amount_nanoeur FROM ai_request_log l
            JOIN hold h ON h.request_id = l.id
            WHERE (l.hold_nanoeur IS NULL OR l.hold_nanoeur <> h.amount_nanoeur)
              AND NOT EXISTS (
                SELECT 1 FROM hold later
                WHERE later.request_id = l.id AND later.held_at > h.held_at)
        """,
        sentence="request {id} has {hold_nanoeur} n€ as held; its hold has {amount_nanoeur} n€",
    ),
    Check(
        name="cost",
        select=COSTS,
        sentence="request {id} is {status} at {cost_nanoeur} n€, {estimated_nanoeur} estimated; "
        "its cost events add up to {charged} n€, {estimated} estimated",
    ),
    Check(
        name="event_without_row",
        select="""
            SELECT e.id, e.amount_nanoeur, e.request_id FROM cost_event e
            LEFT JOIN ai_request_log l ON l.id = e.request_id
            WHERE e.source = 'AI' AND (l.id IS NULL OR l.org_id <> e.org_id)
        """,
        sentence="cost event {id} over {amount_nanoeur} n€ has no audit row {request_id} in its "
        "organization",
    ),
)


def verify() -> Audit:
    """Compare every audit row with the ledger."""
    with snapshot() as cursor:
        cursor.execute("SELECT status, COUNT(*) FROM ai_request_log GROUP BY status")
        rows_by_status = dict(cursor.fetchall())
        return Audit(
            rows_by_status=rows_by_status,
            charged_by_rows=_sum(cursor, "SELECT SUM(cost_nanoeur) FROM ai_request_log"),
            charged_by_events=_sum(
                cursor, "SELECT SUM(amount_nanoeur) FROM cost_event WHERE source = 'AI'"
            ),
            estimated=_sum(
                cursor, "SELECT SUM(estimated_nanoeur) FROM cost_event WHERE source = 'AI'"
            ),
            held=_sum(cursor, "SELECT SUM(amount_nanoeur) FROM hold WHERE state = 'held'"),
            findings=find(cursor, (*CHECKS, overdue(now()))),
        )


def summary(audit: Audit) -> list[str]:
    """Return what was looked at, in lines."""
    statuses = ", ".join(
        f"{number} {name}" for name, number in sorted(audit.rows_by_status.items())
    )
    return [
        f"checked {sum(audit.rows_by_status.values())} requests: {statuses or 'none'}",
        f"charged by the audit log  {euros(audit.charged_by_rows):f} EUR",
        f"charged by cost events    {euros(audit.charged_by_events):f} EUR",
        f"of it estimated           {euros(audit.estimated):f} EUR",
        f"held by running calls     {euros(audit.held):f} EUR",
    ]


def _sum(cursor: CursorWrapper, select: str) -> int:
    cursor.execute(select)
    return int(cursor.fetchone()[0] or 0)
