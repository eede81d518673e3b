"""Ids of the Responses API that are not the caller's, and storage that is turned off."""

from __future__ import annotations

import pytest

from orgs.models import Organization
from orgs.settings.operations import change_organization
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import row_of
from tests.gateway.conftest import Asking
from tests.gateway.http.kept_calls import ASKED, CONVERSATIONS, NAMING, NEXT, RESPONSES, error

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.both_databases,
    pytest.mark.usefixtures("kept_prices"),
]

WORDS = {
    "previous": ("Previous response", "previous_response_id", "previous_response_not_found"),
    "conversation": ("Conversation", "conversation", "not_found"),
    "conversation-object": ("Conversation", "conversation", "not_found"),
    "item": ("Item", "input", "not_found"),
    "bare-item": ("Item", "input", "not_found"),
    "reasoning": ("Item", "input", "not_found"),
}


@pytest.mark.parametrize("way", NAMING)
@pytest.mark.parametrize("id_", ["resp_never", "a b", "x" * 200, "nul\u0000"])
def test_unknown_id_is_not_found(way: str, id_: str, ask: Asking, vendors: FakeProvider) -> None:
    reply = ask(NEXT | NAMING[way](id_), path=RESPONSES)
    what, param, code = WORDS[way]
    assert error(reply) == (
        404,
        {
            "message": f"{what} with id '{id_[:128]}' not found.",
            "type": "invalid_request_error",
            "param": param,
            "code": code,
        },
    )
    assert row_of(reply).status == "blocked"
    assert not vendors.calls


@pytest.mark.parametrize("way", NAMING)
def test_id_of_other_organization_is_not_found(
    way: str, ask: Asking, vendors: FakeProvider, globex_key: str
) -> None:
    vendors.answers(thinking="Hm")
    response = ask(ASKED, path=RESPONSES).json
    conversation = ask({}, path=CONVERSATIONS).json
    ids = {"previous": response["id"], "conversation": conversation["id"]}
    id_ = ids.get(way.removesuffix("-object"), response["output"][0]["id"])
    assert ask(NEXT | NAMING[way](id_), path=RESPONSES).status == 200
    sent = len(vendors.calls)
    foreign = ask(NEXT | NAMING[way](id_), path=RESPONSES, key=globex_key)
    unknown = ask(NEXT | NAMING[way]("i" * len(id_)), path=RESPONSES, key=globex_key)
    assert foreign.status == unknown.status == 404
    assert foreign.body.replace(id_.encode(), b"ID") == unknown.body.replace(b"i" * len(id_), b"ID")
    assert foreign.headers.keys() == unknown.headers.keys()
    assert len(vendors.calls) == sent


def test_id_of_another_kind_is_not_found(ask: Asking, vendors: FakeProvider) -> None:
    first = ask(ASKED, path=RESPONSES).json
    for way in ("conversation", "item"):
        assert ask(NEXT | NAMING[way](first["id"]), path=RESPONSES).status == 404
    assert ask(method="GET", path=f"{CONVERSATIONS}/{first['id']}").status == 404


# --- storage turned off -----------------------------------------------------------------------


@pytest.mark.parametrize("way", [way for way in NAMING if way != "reasoning"])
def test_storage_turned_off_refuses_ids_and_says_what_to_set(
    way: str, ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    change_organization(org=acme, stores_answers=False)
    status, shown = error(ask(NEXT | NAMING[way]("resp_1"), path=RESPONSES))
    assert (status, shown["code"]) == (400, "invalid_request")
    assert "manage.py orgs store SLUG on" in shown["message"]


def test_storage_turned_off_is_written_into_requests(
    ask: Asking, vendors: FakeProvider, acme: Organization
) -> None:
    first = ask(ASKED, path=RESPONSES).json
    change_organization(org=acme, stores_answers=False)
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": []}
    asked = ASKED | {"store": True, "input": [{"role": "user", "content": "x"}, reasoning]}
    reply = ask(asked, path=RESPONSES)
    assert vendors.calls[-1].body["store"] is False
    assert len(vendors.calls[-1].body["input"]) == 1
    assert row_of(reply).decision["adjustments"] == [
        "store is sent as false: answers of this organization are not stored"
    ]
    assert row_of(ask(ASKED, path=RESPONSES)).decision["adjustments"] == []
    assert ask({}, path=CONVERSATIONS).status == 400
    own = f"{RESPONSES}/{first['id']}"
    assert ask(method="GET", path=own).status == 400
    assert ask(method="DELETE", path=own).status == 200
