"""llama.cpp's server as a row: the vendors' clients use it through the gateway, and are charged."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any, Final

import anthropic
import openai
import pytest

from tests.real_servers.llama_cpp import MODEL, TEXT, TEXT_TOKENS, LlamaCpp, weather_tool
from tests.system.databases import at_upstream, prepare
from tests.system.rows import Rows
from tests.system.servers import Installation, Server, free_port

LOCAL: Final = f"local/{MODEL}"
HELLO: Final[Any] = [{"role": "user", "content": "Say hello"}]
# At 1.15 USD per EUR, in nano-euro per token.
INPUT, CACHE_READ, OUTPUT = 1_000, 100, 10_000

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def installation(
    llama_cpp: LlamaCpp, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """A gateway on SQLite with the server as a row, and 1 EUR a day."""
    folder = tmp_path_factory.mktemp("gateway")
    made = Installation(
        database_url=f"sqlite:///{folder}/gateway.sqlite3",
        folder=folder,
        environment={
            **at_upstream(free_port()),  # vendors that no test calls
            "PULSE_SECRETS_KEY": secrets.token_hex(32),
        },
    )
    try:
        made.key = prepare(made)
        address = ("--base-url", llama_cpp.base_url, "--secret-stdin")
        usd = ("--input", "1.15", "--cache-read", "0.115", "--output", "11.5")
        made.run_each(
            ("providers", "add", "local", "--preset", "llamacpp", *address),
            ("prices", "set", MODEL, "--provider", "local", *usd),
            ("policies", "create", "acme", "--name", "Day", "--max-cost-per-day", "1"),
            stdin=llama_cpp.key,
        )
        yield made
    finally:
        made.kill_all()


@pytest.fixture(scope="module")
def server(installation: Installation) -> Server:
    """The gateway's process."""
    return installation.serve()[0]


@pytest.fixture
def rows(installation: Installation) -> Iterator[Rows]:
    """The rows of the gateway's database, in which the books must agree after each test."""
    made = Rows(installation.database_url)
    yield made
    assert made.disagreements() == []


@pytest.fixture
def client(server: Server, installation: Installation) -> Iterator[openai.OpenAI]:
    """OpenAI's client at the gateway."""
    url = f"{server.url}/v1"
    with openai.OpenAI(base_url=url, api_key=installation.key, max_retries=0) as made:
        yield made


def charged(rows: Rows, *, output_tokens: int = TEXT_TOKENS) -> None:
    """Assert that the newest request cost what its tokens do, and not more than its hold."""
    assert rows.unresolved() == 0
    [(status, usage, tokens, cost, hold)] = rows.query(
        "SELECT status, usage, output_tokens, cost_nanoeur, hold_nanoeur FROM ai_request_log "
        "ORDER BY occurred_at DESC, id DESC LIMIT 1"
    )
    buckets = json.loads(usage)["buckets"]
    counts = [buckets.get(name, 0) for name in ("input_uncached", "cache_read")]
    assert (status, tokens) == ("ok", output_tokens)
    assert cost == counts[0] * INPUT + counts[1] * CACHE_READ + tokens * OUTPUT
    assert sum(counts) > 0
    assert cost <= hold


def test_chat_is_charged_plain_and_streamed(client: openai.OpenAI, rows: Rows) -> None:
    plain = client.chat.completions.create(model=LOCAL, messages=HELLO)
    assert (plain.choices[0].message.content or "").strip() == TEXT
    charged(rows)
    with client.chat.completions.stream(model=LOCAL, messages=HELLO) as stream:
        streamed = stream.get_final_completion()
    assert (streamed.choices[0].message.content or "").strip() == TEXT
    charged(rows)


@pytest.mark.parametrize("cap", ["max_tokens", "max_completion_tokens"])
def test_cap_binds_and_several_choices_are_one(client: openai.OpenAI, rows: Rows, cap: str) -> None:
    capped: Any = {"model": LOCAL, "messages": HELLO, "n": 3, cap: 3}
    answer = client.chat.completions.create(**capped)
    assert [choice.finish_reason for choice in answer.choices] == ["length"]
    charged(rows, output_tokens=3)


def test_required_tool_is_called(client: openai.OpenAI, rows: Rows) -> None:
    answer = client.chat.completions.create(
        model=LOCAL, messages=HELLO, tools=[weather_tool()], tool_choice="required"
    )
    [choice] = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    assert answer.usage is not None
    charged(rows, output_tokens=answer.usage.completion_tokens)


def test_embeddings_are_charged(client: openai.OpenAI, rows: Rows) -> None:
    answer = client.embeddings.create(model=LOCAL, input=["one", "two"])
    assert len(answer.data) == 2
    charged(rows, output_tokens=0)


def test_responses_are_charged_plain_and_streamed(client: openai.OpenAI, rows: Rows) -> None:
    assert client.responses.create(model=LOCAL, input="Say hello").output_text.strip() == TEXT
    charged(rows)
    *_, last = client.responses.create(model=LOCAL, input="Say hello", stream=True)
    assert last.type == "response.completed"
    charged(rows)


def test_messages_are_charged_and_counted(
    server: Server, installation: Installation, rows: Rows
) -> None:
    url, key = server.url, installation.key
    with anthropic.Anthropic(base_url=url, api_key=key, max_retries=0) as client:
        client.messages.create(model=LOCAL, messages=HELLO, max_tokens=50)
        charged(rows)
        with client.messages.stream(model=LOCAL, messages=HELLO, max_tokens=50) as stream:
            assert stream.get_final_text().strip() == TEXT
        charged(rows)
        assert client.messages.count_tokens(model=LOCAL, messages=HELLO).input_tokens > 0


def test_models_of_server_are_discovered(installation: Installation) -> None:
    listed = installation.run("providers", "check", "local", "--models", "--format", "json")
    assert [each["model"] for each in json.loads(listed)] == [MODEL]
