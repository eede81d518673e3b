"""OpenAI's client across processes: the next turn by id, of the own organization, also after a
process has died."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import openai
import pytest
from openai import OpenAI

from tests.system.rows import Rows
from tests.system.servers import Installation, Server
from tests.system.upstream import Upstream

pytestmark = pytest.mark.both_databases

MODEL: Final = "gpt-4o-mini"
CAP: Final = 50
TOOL: Final[Any] = {
    **{"type": "function", "name": "weather", "strict": True},
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
CALLS: Final = [{"name": "weather", "arguments": {"city": "Paris"}}]


@pytest.fixture(scope="module")
def servers(installation: Installation) -> list[Server]:
    """Two processes on one database."""
    return installation.serve(2)


@pytest.fixture(scope="module")
def globex_key(installation: Installation) -> str:
    return installation.organizations("globex")["globex"]


@pytest.fixture
def clients(installation: Installation, servers: list[Server]) -> Iterator[list[OpenAI]]:
    """A client of each process."""
    with ExitStack() as stack:
        yield [stack.enter_context(client_of(server, installation.key)) for server in servers]


def client_of(server: Server, key: str) -> OpenAI:
    return OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)


@pytest.fixture(autouse=True)
def _a_quiet_provider(upstream: Upstream) -> None:
    upstream.reset()


@pytest.fixture(autouse=True)
def _a_limit(installation: Installation, rows: Rows) -> None:
    """A limit that is never reached: every call has a bound."""
    if not rows.query("SELECT 1 FROM policy WHERE name = 'P'"):
        installation.run("policies", "create", "acme", "--name", "P", "--max-cost-per-day", "900")


def charged_within_holds(rows: Rows) -> None:
    assert rows.query("SELECT 1 FROM hold WHERE charged_nanoeur > amount_nanoeur") == []
    assert rows.disagreements() == []


def test_tool_loop_and_second_turn_go_on_in_another_process(
    clients: list[OpenAI], upstream: Upstream, rows: Rows
) -> None:
    upstream.answers({"tool_calls": CALLS, "thinking": "The weather, then"})
    first, second = clients
    called = first.responses.create(
        model=MODEL, input="What is the weather in Paris?", tools=[TOOL], max_output_tokens=CAP
    )
    [call] = [item for item in called.output if item.type == "function_call"]
    answered = second.responses.create(
        model=MODEL,
        previous_response_id=called.id,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "Rain"}],
        tools=[TOOL],
        max_output_tokens=CAP,
    )
    again = first.responses.create(
        model=MODEL, previous_response_id=answered.id, input="And tomorrow?", max_output_tokens=CAP
    )
    assert again.output_text == "And tomorrow?"
    assert again.usage
    assert answered.usage
    assert again.usage.input_tokens > answered.usage.total_tokens
    by_items: list[Any] = [
        {"role": "user", "content": "What is the weather in Paris?"},
        *({"type": "item_reference", "id": item.id} for item in called.output),
        {"type": "function_call_output", "call_id": call.call_id, "output": "Rain"},
    ]
    items = second.responses.create(model=MODEL, input=by_items, max_output_tokens=CAP)
    assert items.status == "completed"
    charged_within_holds(rows)


def test_streamed_turn_is_known_to_other_process_at_once(clients: list[OpenAI], rows: Rows) -> None:
    first, second = clients
    previous: str | None = None
    for turn in range(6):
        client, other = (first, second) if turn % 2 else (second, first)
        for event in client.responses.create(
            model=MODEL,
            input=f"Turn {turn} of a conversation",
            previous_response_id=previous,
            max_output_tokens=CAP,
            stream=True,
        ):
            if event.type == "response.created":
                previous = event.response.id
                # Known before its client knows it.
                assert other.responses.retrieve(previous).id == previous
        assert previous is not None
        [kept] = rows.query(
            "SELECT tokens FROM kept_id WHERE kind = 'response' AND provider_id = %s", previous
        )
        assert kept[0] < 300
    charged_within_holds(rows)


def test_id_of_killed_stream_keeps_its_bound(
    installation: Installation,
    servers: list[Server],
    clients: list[OpenAI],
    upstream: Upstream,
    rows: Rows,
) -> None:
    [dying] = installation.serve(1)
    upstream.answers({"stall": "body", "stall_after_events": 3, "times": 1})
    prompt = "A turn that is never answered to its end"
    with client_of(dying, installation.key) as client:
        stream = client.responses.create(
            model=MODEL, input=prompt, max_output_tokens=CAP, stream=True
        )
        created = next(iter(stream))
        assert created.type == "response.created"
        dying.kill()
    id_ = created.response.id
    tokens = rows.value("SELECT tokens FROM kept_id WHERE provider_id = %s", id_)
    assert len(prompt) + CAP <= tokens < len(prompt) + CAP + 200
    continued = clients[0].responses.create(
        model=MODEL, input="Go on", previous_response_id=id_, max_output_tokens=CAP
    )
    assert continued.status == "completed"
    rows.let_instances_look_dead()
    installation.run_each(("ledger", "reap"), ("ledger", "verify"), ("audit", "verify"))
    charged_within_holds(rows)


def test_conversation_of_killed_turn_is_locked_until_it_is_settled(
    installation: Installation, clients: list[OpenAI], upstream: Upstream, rows: Rows
) -> None:
    conversation = clients[0].conversations.create(
        items=[{"role": "user", "content": "My name is Ann"}]
    )
    asked: dict[str, Any] = {
        "model": MODEL,
        "conversation": conversation.id,
        "max_output_tokens": CAP,
    }
    assert clients[1].responses.create(**asked, input="Hello").status == "completed"
    [dying] = installation.serve(1)
    upstream.answers({"stall": "body", "stall_after_events": 3, "times": 1})
    with client_of(dying, installation.key) as client:
        next(iter(client.responses.create(**asked, input="Who am I?", stream=True)))
        with pytest.raises(openai.ConflictError) as locked:
            clients[0].responses.create(**asked, input="Me too")
        dying.kill()
    assert locked.value.code == "conversation_locked"
    rows.let_instances_look_dead()
    installation.run_each(("ledger", "reap"), ("ledger", "verify"))
    # What the dead turn left there is unknown: as much as the model can read.
    assert clients[1].responses.create(**asked, input="And now?").status == "completed"
    [[hold]] = rows.query("SELECT h.amount_nanoeur FROM hold h ORDER BY h.held_at DESC LIMIT 1")
    assert hold > 128_000 * 0.15 * 1000 / 1.2
    charged_within_holds(rows)


def test_id_of_other_organization_is_unknown(
    servers: list[Server], clients: list[OpenAI], globex_key: str, upstream: Upstream
) -> None:
    own = clients[0].responses.create(model=MODEL, input="A secret of Acme's")
    conversation = clients[0].conversations.create()
    item = own.output[0].id
    with client_of(servers[1], globex_key) as stranger:
        for named in (
            {"previous_response_id": own.id},
            {"conversation": conversation.id},
            {"input": [{"type": "item_reference", "id": item}]},
        ):
            body: dict[str, Any] = {"model": MODEL, "input": "Tell me"} | named
            with pytest.raises(openai.NotFoundError) as foreign:
                stranger.responses.create(**body)
            assert "not found" in foreign.value.message
        for read in (
            lambda: stranger.responses.retrieve(own.id),
            lambda: stranger.responses.delete(own.id),
            lambda: stranger.conversations.retrieve(conversation.id),
            lambda: stranger.conversations.items.list(conversation.id),
            lambda: stranger.conversations.delete(conversation.id),
        ):
            with pytest.raises(openai.NotFoundError):
                read()
    assert len(upstream.calls()) == 2


def test_everything_of_clients_library_works(clients: list[OpenAI], upstream: Upstream) -> None:
    client, other = clients
    conversation = client.conversations.create(metadata={"topic": "weather"})
    added = other.conversations.items.create(
        conversation.id, items=[{"role": "user", "content": "My name is Ann"}]
    )
    item = added.data[0]
    assert item.id is not None
    listed = client.conversations.items.list(conversation.id, limit=10, order="asc").data
    assert [each.id for each in listed] == [item.id]
    found = other.conversations.items.retrieve(item.id, conversation_id=conversation.id)
    assert found.id == item.id
    renamed = client.conversations.update(conversation.id, metadata={"topic": "names"})
    assert renamed.metadata == {"topic": "names"}
    response = other.responses.create(
        model=MODEL, conversation=conversation.id, input="Who am I?", max_output_tokens=CAP
    )
    assert client.responses.retrieve(response.id).output_text == "Who am I?"
    assert len(client.responses.input_items.list(response.id).data) == 1
    counted = client.responses.input_tokens.count(model=MODEL, conversation=conversation.id)
    assert counted.input_tokens > 5
    compacted = client.responses.compact(model=MODEL, previous_response_id=response.id)
    assert compacted.output[-1].type == "compaction"
    client.conversations.items.delete(item.id, conversation_id=conversation.id)
    client.responses.delete(response.id)
    assert client.conversations.delete(conversation.id).deleted
    for gone in (
        lambda: other.responses.retrieve(response.id),
        lambda: other.conversations.retrieve(conversation.id),
    ):
        with pytest.raises(openai.NotFoundError):
            gone()


def test_storage_turned_off_says_what_to_set(
    installation: Installation, clients: list[OpenAI], upstream: Upstream
) -> None:
    own = clients[0].responses.create(model=MODEL, input="Before it is off")
    installation.run("orgs", "store", "acme", "off")
    try:
        with pytest.raises(openai.BadRequestError) as refused:
            clients[1].responses.create(model=MODEL, input="Next", previous_response_id=own.id)
        assert "orgs store SLUG on" in refused.value.message
        clients[1].responses.create(model=MODEL, input="Without storage", store=True)
        assert upstream.calls()[-1]["body"]["store"] is False
    finally:
        installation.run("orgs", "store", "acme", "on")
    again = clients[1].responses.create(model=MODEL, input="Next", previous_response_id=own.id)
    assert again.status == "completed"
