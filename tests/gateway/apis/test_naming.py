"""Users and cache keys reach the vendors under names of the organization's own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from gateway.apis.base import Dialect
from gateway.apis.chat.chat import ChatCompletions
from gateway.apis.embeddings.embeddings import Embeddings
from gateway.apis.messages.messages import Messages
from gateway.apis.messages.request import request_from
from gateway.apis.responses.responses import Responses
from gateway.core.calls import Dimensions, Principal
from gateway.core.request_body import call_from
from gateway.core.usage_bound import OutputCap
from gateway.providers.adapters.openai import _request
from gateway.providers.tokens import text_of
from gateway.providers.vendors import vendors
from orgs.core.pseudonyms import Pseudonyms, keyed_by
from tests.gateway.arrivals import NAMES, TIMEOUT_S, body_of, model, read, sent
from tests.gateway.translating import asked

USER = [{"role": "user", "content": "x"}]
CHAT = {"model": "gpt-4o-mini", "messages": USER}
RESPONSES = {"model": "gpt-4o-mini", "input": "x"}
MESSAGES = {"model": "claude-opus-4-6", "messages": USER, "max_tokens": 5}
EMBEDDINGS = {"model": "text-embedding-3-small", "input": "x"}
ANYONE = Principal(org_id=UUID(int=1), fixed=Dimensions(), channel="api")
ELSEWHERE = Pseudonyms(keyed_by(b"a secret for tests", UUID(int=2)))


def outgoing(dialect: Dialect, fields: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = body_of(sent(read(dialect, fields), model(fields["model"])))
    return body


@pytest.mark.parametrize(("dialect", "body"), [(ChatCompletions(), CHAT), (Responses(), RESPONSES)])
def test_openai_gets_organizations_names(dialect: Dialect, body: dict[str, Any]) -> None:
    plain = outgoing(dialect, body)
    assert plain["safety_identifier"] == NAMES.user()
    assert plain["prompt_cache_key"] == NAMES.cache()
    assert "user" not in plain
    given = {"user": "ann", "safety_identifier": "s", "prompt_cache_key": "k"}
    assert (
        outgoing(dialect, body | given).items()
        >= {
            "user": NAMES.user("ann"),
            "safety_identifier": NAMES.user("s"),
            "prompt_cache_key": NAMES.cache("k"),
        }.items()
    )
    assert outgoing(dialect, body | {"user": "ann"})["safety_identifier"] == NAMES.user("ann")


@pytest.mark.parametrize("wrong", [5, [], {}, True])
def test_wrong_type_is_left_to_vendor(wrong: Any) -> None:
    given = {"user": wrong, "safety_identifier": wrong, "prompt_cache_key": wrong}
    assert outgoing(ChatCompletions(), CHAT | given).items() >= given.items()
    assert outgoing(Messages(), MESSAGES | {"metadata": {"user_id": wrong}})["metadata"] == {
        "user_id": wrong
    }


def test_anthropic_gets_organizations_names_beside_other_metadata() -> None:
    assert outgoing(Messages(), MESSAGES)["metadata"] == {"user_id": NAMES.user()}
    metadata = {"user_id": '{"session_id": "x"}', "more": 1}
    assert outgoing(Messages(), MESSAGES | {"metadata": metadata})["metadata"] == {
        "user_id": NAMES.user('{"session_id": "x"}'),
        "more": 1,
    }
    counted = outgoing(Messages(counts=True), MESSAGES)
    assert "metadata" not in counted  # it is no field of theirs


def test_mistral_and_embeddings_get_only_fields_that_they_know() -> None:
    body = CHAT | {"model": "mistral-large-latest"}
    assert outgoing(ChatCompletions(), body).keys() == body.keys() | {"service_tier"}
    named = outgoing(ChatCompletions(), body | {"prompt_cache_key": "k"})
    assert named["prompt_cache_key"] == NAMES.cache("k")
    assert outgoing(Embeddings(text_of=text_of), EMBEDDINGS) == EMBEDDINGS | {"user": NAMES.user()}
    theirs = EMBEDDINGS | {"model": "mistral-embed"}
    assert outgoing(Embeddings(text_of=text_of), theirs) == theirs


def test_calls_through_sdks_carry_names() -> None:
    call = asked(user="ann")
    assert request_from(call)["metadata"] == {"user_id": NAMES.user("ann")}
    native = read_native()
    assert (
        _request(native, vendors()["openai"].config).items()
        >= {
            "safety_identifier": NAMES.user(),
            "prompt_cache_key": NAMES.cache(),
        }.items()
    )


def read_native() -> Any:
    from_json = b'{"model": "gpt-4o-mini", "prompt": "x"}'
    body = call_from(from_json, principal=ANYONE).body
    cap = OutputCap(10, is_written=True)
    return body.outgoing(model("gpt-4o-mini"), cap, timeout_s=TIMEOUT_S, names=NAMES)


def test_names_are_opaque_stable_and_differ_by_organization_kind_and_value() -> None:
    found = {
        names.organization: [
            *(names.user(each) for each in ("", "ann", "bob")),
            *(names.cache(each) for each in ("", "ann")),
        ]
        for names in (NAMES, ELSEWHERE)
    }
    assert len(found) == 2
    flat = [each for names in found.values() for each in names]
    assert len(set(flat)) == len(flat)
    for organization, names in found.items():
        assert all(each.startswith(f"{organization}-") and len(each) <= 64 for each in names)
    assert Pseudonyms(NAMES.keyed, "ann").user() == NAMES.user("ann")
    assert not any("ann" in each for each in flat)
