"""No CSV file of the installation has a formula, whatever people and callers are called."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime
from typing import Final

import pytest

from costs.core.cost_query import GROUP_COLUMNS
from costs.explorer.names import DIMENSIONS
from orgs.console.exports import FORMULA_SIGNS
from orgs.models import Organization, User
from tests.answers import text_of
from tests.cast import CLIENTS
from tests.costs.charges import charge
from tests.factories import (
    AiRequestLogFactory,
    AlertChannelFactory,
    AlertDeliveryFactory,
    AlertFactory,
    AliasFactory,
    ApiKeyFactory,
    BudgetFactory,
    MembershipFactory,
    PolicyFactory,
    UserFactory,
)
from tests.system.routes import all_routes

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

UNTRUSTED: Final = ("=1+1", "+1+1", "-1+1", "@SUM(1)", "\N{FULLWIDTH EQUALS SIGN}1", " =1")
SIGNS: Final = tuple(FORMULA_SIGNS)
NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
FILES: Final = [
    f"/{route}{query}"
    for route in all_routes()
    if route.endswith(".csv")
    for query in ([f"?groupBy={name}" for name in GROUP_COLUMNS] if route == "costs.csv" else [""])
]


@pytest.fixture
def named_by_attacker(acme: Organization) -> None:
    """Everything that can have a name has one that is a formula."""
    moment = datetime.now(UTC)
    for number, text in enumerate(UNTRUSTED):
        dimensions = dict.fromkeys(set(DIMENSIONS) - {"user_id"}, text)
        person = UserFactory.create(email=f"{text[0]}{number}@acme.example", name=text)
        MembershipFactory.create(org=acme, user=person)
        key = ApiKeyFactory.create(org=acme, name=text, owner=person, team_id=text, app_id=text)
        of_session = {"session_id": text, "agent_id": text}
        called = {"model": text, "provider": text, "user_id": text, "key_id": key.pk}
        called |= dimensions | of_session
        AiRequestLogFactory.create(org=acme, code=text, error=text, channel=text, **called)
        charge(acme, -1, occurred_at=moment, **called)
        charge(acme, -1, occurred_at=moment, **called | {"user_id": str(person.pk)})
        PolicyFactory.create(org=acme, name=text, allowed_models=[text, "a"], blocked_models=[text])
        BudgetFactory.create(org=acme, name=text, models=[text], **dimensions)
        AliasFactory.create(org=acme, name=text, models=[text])
        alert = AlertFactory.create(
            org=acme, key=text, sentence=text, acknowledged_at=moment, acknowledged_by=text
        )
        AlertDeliveryFactory.create(
            channel=AlertChannelFactory.create(org=acme, name=text), alert=alert
        )


@pytest.mark.usefixtures("named_by_attacker")
@pytest.mark.parametrize("path", FILES)
def test_csv_file_has_no_formula(client_for: CLIENTS, admin_user: User, path: str) -> None:
    text = text_of(client_for(admin_user), path)
    rows = list(csv.reader(io.StringIO(text, newline="")))
    cells = [cell for row in rows[1:] for cell in row]
    assert len(rows) > 1
    for cell in cells:
        assert NUMBER.fullmatch(cell) or not cell.lstrip(' "').startswith(SIGNS), cell
    escaped = [cell for cell in cells if cell.startswith("'")]
    assert bool(escaped) == (not path.endswith("groupBy=day"))
    if path.startswith("/costs.csv"):
        assert any(re.fullmatch(r"-0\.[0-9]{9}", cell) for cell in cells)  # a number stays one
