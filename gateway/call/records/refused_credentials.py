"""Note that a provider refused this installation's key, in the ledger's transactions.

Operators are alerted by it, also where an alias's next model answered.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from costs.core.admission import Settlement
from costs.ledger.stores.base import Store
from costs.ledger.stores.tables import Table
from gateway.core.errors import CredentialsRefused
from gateway.models import RefusedCredentials

REFUSED_CREDENTIALS: Final = Table.of(RefusedCredentials, keeps_first=True)


def note_refused_credentials(
    store: Store, settlements: Iterable[Settlement], *, now: datetime
) -> None:
    """Note which providers did so in these calls, once for a day of UTC."""
    providers = {
        str(settlement.charge_to["provider"])
        for settlement in settlements
        if settlement.entry and settlement.entry.code == CredentialsRefused.code
    }
    day = now.astimezone(UTC).date()
    # In a fixed order: two transactions that insert the same rows wait for each other.
    rows = [
        {"id": f"{provider}:{day}", "provider": provider, "on_date": day}
        for provider in sorted(providers)
    ]
    store.insert(REFUSED_CREDENTIALS, rows)
