"""What must be true of counted hours: their shares add up, and calls are charged them."""

from __future__ import annotations

from typing import Final

# A name, a SELECT of the rows that violate the rule, and the sentence for such a row.
HOUR_CHECKS: Final = (
    (
        "hour_cost",
        """
            SELECT c.id, c.provider, c.model, c.starts_at, c.divided_nanoeur, c.calls,
                COALESCE(s.nanoeur, 0) AS shared, COALESCE(s.calls, 0) AS sharing
            FROM hour_cost c LEFT JOIN (
                SELECT hour_cost_id, SUM(nanoeur) AS nanoeur, COUNT(*) AS calls,
                    SUM(CASE WHEN charged_at IS NULL THEN 1 ELSE 0 END) AS waiting
                FROM hour_share GROUP BY hour_cost_id
            ) s ON s.hour_cost_id = c.id
            WHERE c.divided_nanoeur <> COALESCE(s.nanoeur, 0) OR c.calls <> COALESCE(s.calls, 0)
               OR c.divided_nanoeur <> CASE
                    WHEN c.tokens = 0 OR c.amount_nanoeur < c.unknown_nanoeur THEN 0
                    ELSE c.amount_nanoeur - c.unknown_nanoeur END
               OR (c.done_at IS NOT NULL AND COALESCE(s.waiting, 0) > 0)
        """,
        "hour {id} of {provider} {model} from {starts_at} divides {divided_nanoeur} n€ over "
        "{calls} calls; the shares of its {sharing} calls are {shared} n€, or not all are charged",
    ),
    (
        "hour_share",
        """
            SELECT s.id, s.nanoeur, COALESCE(h.charged_nanoeur, 0) AS charged FROM hour_share s
            LEFT JOIN hold h ON h.id = s.id
            LEFT JOIN cost_event a ON a.hold_id = s.id AND a.kind = 'adjustment'
            WHERE h.id IS NULL OR (s.charged_at IS NOT NULL AND a.id IS NULL)
               OR (a.id IS NOT NULL AND h.charged_nanoeur <> s.nanoeur)
        """,
        "hold {id} is charged {charged} n€; its share of an hour is {nanoeur} n€",
    ),
    (
        "adjustment_without_share",
        """
            SELECT a.id, a.hold_id, a.amount_nanoeur FROM cost_event a
            LEFT JOIN hour_share s ON s.id = a.hold_id
            WHERE a.kind = 'adjustment' AND s.id IS NULL
        """,
        "adjustment {id} of {amount_nanoeur} n€ belongs to hold {hold_id}, which has no share of "
        "an hour",
    ),
)
