"""What rows of providers keep: an id belongs to the provider that gave it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.call.runtime import Gateway
from gateway.models import KeptId, Provider
from orgs.models import Organization
from tests.factories import PolicyFactory, RateFactory
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import row_of, wire
from tests.gateway.conftest import Asking
from tests.gateway.local_rows import make_row
from tests.gateway.wire import Reply

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

RESPONSES, CONVERSATIONS = "/v1/responses", "/v1/conversations"
VENDORS_MODEL, ROWS_MODEL = "gpt-4o-mini", "azure-eu/gpt-4o-mini"


@pytest.fixture
def azure(vendors: FakeProvider) -> Iterator[FakeProvider]:
    """A second account, at a row that keeps answers."""
    RateFactory.create(provider="azure-eu", model="gpt-4o-mini")
    with FakeProvider() as fake:
        make_row(
            "azure-eu",
            base_url=fake.base_url("openai"),
            dialects=["chat", "responses"],
            family="openai",
            keeps=True,
        )
        yield fake


def turn(ask: Asking, model: str, **more: Any) -> Reply:
    body = {"model": model, "input": "My name is Ann", "max_output_tokens": 50}
    return ask(body | more, path=RESPONSES)


def error(reply: Reply) -> tuple[int, str, str | None]:
    found = reply.json["error"]
    return reply.status, found["message"], found["code"]


@pytest.mark.parametrize("stream", [False, True])
def test_next_turn_goes_to_row_that_gave_id(
    stream: bool, ask: Asking, azure: FakeProvider, vendors: FakeProvider
) -> None:
    first = turn(ask, ROWS_MODEL, stream=stream)
    id_ = (first.events[-1].data["response"] if stream else first.json)["id"]
    assert KeptId.objects.get(provider_id=id_).provider == "azure-eu"
    second = turn(ask, ROWS_MODEL, previous_response_id=id_)
    assert second.status == 200
    assert [call.body.get("previous_response_id") for call in azure.calls] == [None, id_]
    assert not vendors.calls


def test_id_is_unknown_at_any_other_provider(
    ask: Asking, azure: FakeProvider, vendors: FakeProvider
) -> None:
    at_row = turn(ask, ROWS_MODEL).json["id"]
    at_vendor = turn(ask, VENDORS_MODEL, input="Another prompt: the fake's ids depend on it").json[
        "id"
    ]
    assert at_row != at_vendor
    for model, id_ in ((VENDORS_MODEL, at_row), (ROWS_MODEL, at_vendor)):
        sentence = f"Previous response with id '{id_}' not found."
        refused = turn(ask, model, previous_response_id=id_)
        assert error(refused) == (404, sentence, "previous_response_not_found")
        item = {"type": "item_reference", "id": id_}
        assert turn(ask, model, input=[item]).status == 404
    assert (len(azure.calls), len(vendors.calls)) == (1, 1)


def test_same_id_of_two_providers_is_resolved_by_model(
    ask: Asking, azure: FakeProvider, vendors: FakeProvider, acme: Organization
) -> None:
    PolicyFactory.create(org=acme, max_cost_per_day_nanoeur=100 * 10**9)
    azure.answers(input_tokens=6_000, output_tokens=1_000)
    id_ = turn(ask, ROWS_MODEL).json["id"]
    assert turn(ask, VENDORS_MODEL).json["id"] == id_  # as the fake makes them
    kept = KeptId.objects.get(provider_id=id_, provider="openai")
    at_vendor = turn(ask, VENDORS_MODEL, previous_response_id=id_)
    assert row_of(at_vendor).decision["input"]["kept_tokens"] == kept.tokens
    at_row = turn(ask, ROWS_MODEL, previous_response_id=id_)
    assert row_of(at_row).decision["input"]["kept_tokens"] == 7_000
    assert azure.calls[-1].body["previous_response_id"] == id_


def test_id_keeps_shared_name_at_provider_that_gave_it(
    ask: Asking, azure: FakeProvider, vendors: FakeProvider
) -> None:
    Provider.objects.update(models=[VENDORS_MODEL], weight=1, order=0)
    id_ = turn(ask, VENDORS_MODEL).json["id"]
    Provider.objects.update(order=5)
    item = KeptId.objects.get(provider="azure-eu", kind="item").provider_id
    assert turn(ask, VENDORS_MODEL, previous_response_id=id_).status == 200
    reference = [{"type": "item_reference", "id": item}, {"role": "user", "content": "And?"}]
    assert turn(ask, VENDORS_MODEL, input=reference).status == 200
    assert (len(azure.calls), len(vendors.calls)) == (3, 0)
    assert turn(ask, VENDORS_MODEL, input="Another").status == 200
    assert (len(azure.calls), len(vendors.calls)) == (3, 1)


def test_own_response_is_read_and_deleted_at_its_row(
    ask: Asking, azure: FakeProvider, vendors: FakeProvider
) -> None:
    id_ = turn(ask, ROWS_MODEL).json["id"]
    read = ask(method="GET", path=f"{RESPONSES}/{id_}")
    assert (read.status, read.json["id"]) == (200, id_)
    assert row_of(read).provider == "azure-eu"
    assert ask(method="DELETE", path=f"{RESPONSES}/{id_}").status == 200
    assert ask(method="GET", path=f"{RESPONSES}/{id_}").status == 404
    assert not vendors.calls


def test_conversation_begins_at_openai_or_at_first_row_that_keeps(
    ask: Asking, azure: FakeProvider, vendors: FakeProvider, gateway: Gateway
) -> None:
    at_vendor = ask({}, path=CONVERSATIONS).json["id"]
    assert turn(ask, VENDORS_MODEL, conversation=at_vendor).status == 200
    assert turn(ask, ROWS_MODEL, conversation=at_vendor).status == 404
    wire(gateway, vendors, openai=None)
    at_row = ask({}, path=CONVERSATIONS).json["id"]
    assert turn(ask, ROWS_MODEL, conversation=at_row).status == 200
    kept = dict(KeptId.objects.filter(kind="conversation").values_list("provider_id", "provider"))
    assert kept == {at_vendor: "openai", at_row: "azure-eu"}


def test_row_that_keeps_nothing_is_asked_not_to_store(ask: Asking, azure: FakeProvider) -> None:
    Provider.objects.update(keeps=False)
    id_ = turn(ask, ROWS_MODEL).json["id"]
    assert azure.calls[0].body["store"] is False
    assert not KeptId.objects.exists()
    assert turn(ask, ROWS_MODEL, previous_response_id=id_).status == 404


def test_ids_of_removed_row_are_unknown(ask: Asking, azure: FakeProvider) -> None:
    id_ = turn(ask, ROWS_MODEL).json["id"]
    Provider.objects.all().delete()
    assert ask(method="GET", path=f"{RESPONSES}/{id_}").status == 404
    assert turn(ask, VENDORS_MODEL, previous_response_id=id_).status == 404
