"""An organization whose row is locked: its callers get 503, and its keys' use is recorded later."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from django.db import transaction

from costs.ledger.connect import open_store
from costs.ledger.stores.base import StoreLocked
from gateway.call.runtime import Gateway
from orgs.locking import locked
from orgs.models import ApiKey, Organization
from tests.factories import ApiKeyFactory
from tests.gateway.conftest import Asking

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres_only]

HELLO: Any = {"model": "sandbox-small", "prompt": "Say hello"}
SENTENCE = "Rows of the organization are locked in the database; nothing was sent"


def test_call_of_locked_organization_is_503_and_later_answered(
    ask: Asking, gateway: Gateway, acme: Organization
) -> None:
    assert ask(HELLO).status == 200
    gateway.writer.aside.reservation_wait_max_s = 0.4
    with transaction.atomic():
        locked(acme.pk)
        refused = ask(HELLO)
    assert refused.refusal == (503, "ledger_unavailable", SENTENCE)
    assert refused.headers["retry-after"] == "1"
    assert ask(HELLO).status == 200


def test_use_of_locked_key_is_recorded_later(gateway: Gateway, acme: Organization) -> None:
    key = ApiKeyFactory.create(org=acme)
    gateway.used_keys = {key.pk}
    with closing(open_store()) as store:
        with transaction.atomic():
            ApiKey.objects.select_for_update().get(pk=key.pk)
            with pytest.raises(StoreLocked):
                gateway.keep_house(store)
            store.rollback()
        gateway.keep_house(store)
    assert ApiKey.objects.get(pk=key.pk).last_used_at is not None
