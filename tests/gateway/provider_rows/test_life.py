"""The life of a row and its secret: from the change to the calls that it decides."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from costs.prices.book import providers_version
from gateway.call.runtime import Gateway
from gateway.models import Provider
from gateway.provider_rows import operations
from gateway.provider_rows.operations import GivenSecret
from gateway.provider_rows.terms import ProviderTerms
from orgs.core.errors import Invalid
from orgs.models import HistoryEvent, Organization
from tests.commands import output_of
from tests.factories import ProviderFactory, RateFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import CHAT
from tests.gateway.conftest import Asking
from tests.gateway.wire import Reply

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

COMPLETIONS = "/v1/chat/completions"
SECRET = "canary-5d0f7a21c9"

Added = Callable[..., Provider]


@pytest.fixture
def added(vendors: FakeProvider) -> Added:
    """Return a function that adds a priced row at the fake provider, as a command does."""

    def add(*, org: Organization | None = None, secret: str = SECRET, **values: Any) -> Provider:
        RateFactory.create(provider="local", model="m", source="set by hand")
        return operations.add_provider(
            terms=ProviderTerms(
                name="local",
                title="Local",
                base_url=vendors.base_url("openai"),
                dialects=["chat"],
                **values,
            ),
            secret=GivenSecret(text=secret),
            org_id=org.pk if org else None,
            by_command=True,
        )

    return add


def go(ask: Asking, model: str = "local/m") -> Reply:
    return ask(CHAT | {"model": model}, path=COMPLETIONS)


def keys_sent(vendors: FakeProvider) -> list[str]:
    return [call.headers["authorization"].removeprefix("Bearer ") for call in vendors.calls]


@pytest.mark.parametrize("is_own", [False, True], ids=["installation", "organization"])
def test_changes_count_at_next_request(
    is_own: bool, ask: Asking, added: Added, acme: Organization, vendors: FakeProvider
) -> None:
    assert go(ask).headers["x-pulse-error-code"] == "unknown_model"
    row = added(org=acme if is_own else None)
    assert go(ask).status == 200
    operations.change_provider(row, changes={"fixed_name": "it"}, by_command=True)
    assert go(ask).status == 200
    assert vendors.calls[-1].body["model"] == "it"
    operations.change_provider(row, enabled=False, by_command=True)
    assert go(ask).headers["x-pulse-error-code"] == "unknown_model"
    operations.change_provider(row, enabled=True, by_command=True)
    assert go(ask).status == 200
    operations.remove_provider(row)
    assert go(ask).headers["x-pulse-error-code"] == "unknown_model"


def test_row_of_another_organization_is_unknown(
    ask: Asking, added: Added, globex: Organization
) -> None:
    added(org=globex)
    assert go(ask).headers["x-pulse-error-code"] == "unknown_model"


def test_every_change_raises_its_version_even_in_sql(acme: Organization) -> None:
    def versions() -> tuple[int, int]:
        acme.refresh_from_db()
        return providers_version(), acme.config_version

    for org, place in ((None, 0), (acme, 1)):
        row = ProviderFactory.create(org=org)
        for statement in ("UPDATE provider SET weight = 2", "DELETE FROM provider"):
            before = versions()
            with connection.cursor() as cursor:
                cursor.execute(statement)
            after = versions()
            assert after[place] > before[place]
            assert after[1 - place] == before[1 - place]
        assert not Provider.objects.filter(pk=row.pk).exists()
    moved = ProviderFactory.create(org=acme)
    before = versions()
    Provider.objects.filter(pk=moved.pk).update(org=None)
    assert all(new > old for new, old in zip(versions(), before, strict=True))


def test_call_in_flight_keeps_its_secret(ask: Asking, added: Added, vendors: FakeProvider) -> None:
    row = added()
    vendors.answers(until_released=True)
    replies: list[Reply] = []
    running = threading.Thread(target=lambda: replies.append(go(ask)))
    running.start()
    vendors.wait_for(lambda call: call.body["model"] == "m")
    operations.rotate_secret(row, secret=GivenSecret(text="newer"), by_command=True)
    assert go(ask).status == 200
    vendors.release()
    running.join()
    assert [reply.status for reply in replies] == [200]
    assert keys_sent(vendors) == [SECRET, "newer"]


def test_unreadable_secret_refuses_calls_with_reason(
    ask: Asking, added: Added, settings: Settings, gateway: Gateway, vendors: FakeProvider
) -> None:
    added()
    settings.SECRETS_KEYS = ("another-key-that-seals-secrets-0123456789",)
    reply = go(ask)
    assert (reply.status, reply.headers["x-pulse-error-code"]) == (503, "provider_not_configured")
    assert reply.json["error"]["message"].startswith(
        'Provider "Local" cannot be called: The secret cannot be opened with PULSE_SECRETS_KEY'
    )
    assert not vendors.calls


def test_secret_of_another_row_is_not_opened(ask: Asking, added: Added) -> None:
    """Anyone who can write rows cannot have a secret sent to an address of their own."""
    row = added()
    ProviderFactory.create(name="thief", auth="bearer", secret=row.secret)
    RateFactory.create(provider="thief", model="m", source="set by hand")
    assert go(ask, "thief/m").headers["x-pulse-error-code"] == "provider_not_configured"


def test_secret_is_nowhere_but_in_requests(
    ask: Asking, added: Added, vendors: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="pulse"):
        row = added()
        assert go(ask).status == 200
        vendors.answers(status=401, body={"error": {"message": f"Wrong key: {SECRET}"}})
        answers = [go(ask)]
        vendors.answers(content=f"You sent {SECRET}")
        answers.append(go(ask))
    assert keys_sent(vendors) == [SECRET] * 3
    assert SECRET not in caplog.text
    assert not [reply for reply in answers if SECRET in str(reply.json)]
    assert SECRET not in repr(row.__dict__)
    assert SECRET not in output_of("dumpdata", "gateway", "orgs")
    if connection.vendor == "sqlite":
        file = Path(connection.settings_dict["NAME"])
        with sqlite3.connect(file) as database:
            database.execute("PRAGMA wal_checkpoint")
        found = [each for each in (file, Path(f"{file}-wal")) if each.exists()]
        assert found
        assert not [each for each in found if SECRET.encode() in each.read_bytes()]


def test_sealing_requires_key(settings: Settings, added: Added) -> None:
    settings.SECRETS_KEYS = ()
    with pytest.raises(Invalid, match="PULSE_SECRETS_KEY must be set"):
        added()
    assert not Provider.objects.exists()
    assert not HistoryEvent.objects.filter(event="provider_created").exists()


def test_row_without_secret_needs_no_sealing_key(settings: Settings, added: Added) -> None:
    settings.SECRETS_KEYS = ()
    added(secret="", auth="none")
    assert Provider.objects.get().secret == ""
