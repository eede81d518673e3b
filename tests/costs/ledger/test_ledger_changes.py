"""Changes apply from the next RESERVE, in every process, whether made by code or SQL."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils.timezone import now

from costs.core.admission import Admitted, GatewayDisabled, RefusalRecorded, Stale
from costs.core.holds import State
from costs.ledger.stores.base import RowKeys
from costs.models import CostEvent, ExchangeRate, Rate
from costs.prices.book import price_list_version, providers_version
from gateway.models import Policy
from orgs.keys import operations
from orgs.models import ApiKey, Membership, Organization, User
from tests.costs.books import (
    NOON,
    Books,
    Desk,
    ask,
    books,
    check_the_books,
    limit,
    settlement,
    states,
)
from tests.databases import by_hand
from tests.factories import ApiKeyFactory, ExchangeRateFactory, RateFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


def stale(org: Organization) -> Stale:
    """The answer to a call that was checked on anything but the current versions."""
    current = Organization.objects.values_list("config_version", flat=True).get(pk=org.pk)
    return Stale(
        config_version=current,
        prices_version=price_list_version(),
        providers_version=providers_version(),
    )


def revoke(org: Organization) -> None:
    operations.revoke_key(key=ApiKey.objects.get(org=org))


CHANGES: dict[str, Callable[[Organization], Any]] = {
    "a new policy": lambda org: limit(org, 5),
    "a changed policy": lambda org: Policy.objects.filter(org=org).update(blocked_models=["*"]),
    "a policy that is switched off": lambda org: Policy.objects.filter(org=org).update(mode="off"),
    "a policy that is removed": lambda org: Policy.objects.filter(org=org).delete(),
    "a policy that is changed by hand": lambda org: by_hand(
        "UPDATE policy SET max_cost_per_day_nanoeur = 1 WHERE org_id = %s", org.pk
    ),
    "a revoked key": revoke,
    "a key that is revoked by hand": lambda org: by_hand(
        "UPDATE api_key SET revoked_at = %s WHERE org_id = %s", now(), org.pk
    ),
    "a key that is deleted": lambda org: ApiKey.objects.filter(org=org).delete(),
    "another time zone": lambda org: by_hand(
        "UPDATE organization SET timezone = 'Asia/Tokyo' WHERE id = %s", org.pk
    ),
    "a member who leaves": lambda org: Membership.objects.filter(org=org).delete(),
    "a person whose account is closed": lambda org: User.objects.update(is_active=False),
    "a new price": lambda org: RateFactory.create(model="another"),
    "a changed price": lambda org: Rate.objects.update(output_usd_per_mtok=7),
    "a price that is gone": lambda org: by_hand("DELETE FROM rate"),
    "a new exchange rate": lambda org: ExchangeRate.objects.update(usd_per_eur=2),
}


@pytest.fixture
def configured(acme: Organization, member_user: User) -> Organization:
    """Acme with a policy, a key, a member and a price."""
    limit(acme, 1000)
    ApiKeyFactory.create(org=acme)
    RateFactory.create()
    ExchangeRateFactory.create()
    return acme


@pytest.mark.parametrize("change", CHANGES)
def test_call_checked_before_change_is_stale(
    desk: Desk, configured: Organization, change: str
) -> None:
    asks = [ask(configured, 10, limit=1000), ask(configured, None)]
    CHANGES[change](configured)
    assert desk.commit(asks)[0] == [stale(configured)] * 2
    answers, _ = desk.commit([ask(configured, 10, limit=1000), ask(configured, None)])
    assert [type(answer) for answer in answers] == [Admitted, RefusalRecorded]
    assert states(configured) == ["held"]


def test_gateway_disabled_by_sql_takes_effect_at_next_call(
    desk: Desk, acme: Organization, globex: Organization
) -> None:
    asks = [ask(acme, 10), ask(globex, 10)]
    by_hand("UPDATE organization SET ai_gateway_enabled = false WHERE id = %s", acme.pk)
    (refused, other), _ = desk.commit(asks)
    assert refused == GatewayDisabled(now=NOON, name="Acme")
    assert isinstance(other, Admitted)
    by_hand("UPDATE organization SET ai_gateway_enabled = true WHERE id = %s", acme.pk)
    assert desk.reserve(asks[0]) == stale(acme)
    assert isinstance(desk.reserve(ask(acme, 10)), Admitted)


def test_finished_call_is_settled_despite_changes(desk: Desk, acme: Organization) -> None:
    asked, admitted = desk.hold(acme, 100, limit=100)
    by_hand("UPDATE organization SET ai_gateway_enabled = false WHERE id = %s", acme.pk)
    Rate.objects.all().delete()
    assert desk.settle(settlement(asked, admitted, State.SETTLED, 40)).changed
    assert CostEvent.objects.get(org=acme).rate_card.rates == {"model": "gpt-4o-mini"}
    assert books(acme) == Books(held=0, settled=40)
    check_the_books()


def test_change_does_not_affect_other_organization(
    desk: Desk, acme: Organization, globex: Organization
) -> None:
    asked = ask(globex, 10)
    limit(acme, 5)
    assert isinstance(desk.reserve(asked), Admitted)


def test_change_waits_for_running_reservation(
    desk: Desk, new_desk: Callable[[], Desk], acme: Organization
) -> None:
    asked = ask(acme, 10)
    desk.store.lock(RowKeys(org_ids=[acme.pk]))

    def change() -> None:
        try:
            Organization.objects.filter(pk=acme.pk).update(ai_gateway_enabled=False)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads:
        changing = threads.submit(change)
        with pytest.raises(TimeoutError):
            changing.result(timeout=0.3)
        desk.store.commit()
        changing.result(timeout=120)
    assert isinstance(new_desk().reserve(asked), GatewayDisabled)


@pytest.mark.postgres_only
def test_reservation_waits_for_running_change(desk: Desk, acme: Organization) -> None:
    """On SQLite there is one writer, so that this is the test above."""
    asked = ask(acme, 10, limit=1000)
    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            limit(acme, 5)
            answer = threads.submit(desk.reserve, asked)
            with pytest.raises(TimeoutError):
                answer.result(timeout=0.3)
        assert answer.result(timeout=120) == stale(acme)
    assert states(acme) == []


@pytest.mark.postgres_only
def test_default_isolation_of_server_has_no_effect(
    new_desk: Callable[[], Desk], acme: Organization
) -> None:
    """Serializable, the waiting reservation would fail instead of seeing what it waited for."""
    asked = ask(acme, 10, limit=1000)
    database = connection.ops.quote_name(str(connection.settings_dict["NAME"]))
    by_hand(f"ALTER DATABASE {database} SET default_transaction_isolation = serializable")
    desk = new_desk()
    try:
        assert desk.store
        with ThreadPoolExecutor(1) as threads:
            with transaction.atomic():
                limit(acme, 5)
                answer = threads.submit(desk.reserve, asked)
                with pytest.raises(TimeoutError):
                    answer.result(timeout=0.3)
            assert answer.result(timeout=120) == stale(acme)
    finally:
        by_hand(f"ALTER DATABASE {database} RESET default_transaction_isolation")
