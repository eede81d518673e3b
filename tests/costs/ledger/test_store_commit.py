"""A failure at COMMIT is not reported as written."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from costs.ledger.connect import open_store
from costs.ledger.stores.tables import PERIOD, Row
from costs.models import Period
from orgs.fields import new_id

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

DAY = {
    "starts_on": date(2026, 3, 1),
    "starts_at": datetime(2026, 3, 1, tzinfo=UTC),
    "ends_at": datetime(2026, 3, 2, tzinfo=UTC),
}
BALANCES = ("held_nanoeur", "settled_nanoeur", "overrun_nanoeur", "carried_nanoeur")


def day_without_organization() -> Row:
    """A period of a missing organization, which is checked only at the commit."""
    return {"id": new_id(), "org_id": new_id(), "scope": "org", **DAY, **dict.fromkeys(BALANCES, 0)}


@pytest.mark.parametrize("rows", [1, 2])
def test_failed_commit_is_not_reported_as_written(rows: int) -> None:
    store = open_store()
    try:
        store.begin()
        store.insert(PERIOD, [day_without_organization() for _ in range(rows)])
        with pytest.raises(Exception, match=r"(?i)foreign key"):
            store.commit()
        store.rollback()
        assert not Period.objects.exists()
        store.begin()
        assert [tuple(row) for row in store.query("SELECT count(*) FROM period")] == [(0,)]
        store.commit()
    finally:
        store.close()
