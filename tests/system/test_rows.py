"""Rows of providers in real processes, by the vendors' own clients: only the model's name differs.

An operator adds them by command; two processes serve them under a daily limit.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from tests.fake_provider import FOREVER, HOSTS
from tests.gateway.known_servers.accounts import service_account
from tests.system.rows import Rows
from tests.system.servers import HOST, Installation, Server
from tests.system.upstream import Upstream

pytestmark = pytest.mark.both_databases

MODEL: Final = "acme/weights"
LOCAL: Final = f"local/{MODEL}"
GEMINI: Final = "gemini-2.5-flash"
HELLO: Final[Any] = [{"role": "user", "content": "Say hello to all"}]
EUR: Final = 10**9
# At 1.15 USD per EUR, in nano-euro per token.
INPUT, OUTPUT = 1_000, 10_000


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """A fake vLLM."""
    running = Upstream(tmp_path_factory.mktemp("vllm") / "record.jsonl", host="vllm")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def vertex(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """A fake Vertex AI, with its token server."""
    running = Upstream(tmp_path_factory.mktemp("vertex") / "record.jsonl", host="vertex")
    yield running
    running.stop()


def _prices(provider: str, model: str) -> tuple[str, ...]:
    usd = ("--input", "1.15", "--output", "11.5")
    return ("prices", "set", model, "--provider", provider, *usd)


@pytest.fixture(scope="module")
def servers(installation: Installation, vllm: Upstream, vertex: Upstream) -> list[Server]:
    """Two processes, with a row for each fake."""
    installation.environment["PULSE_SECRETS_KEY"] = secrets.token_hex(32)
    local = f"http://{HOST}:{vllm.port}/v1"
    origin = f"http://{HOST}:{vertex.port}"
    added = ("providers", "add")
    installation.run_each(
        (*added, "local", "--preset", "vllm", "--base-url", local, "--secret-stdin"),
        _prices("local", MODEL),
        ("policies", "create", "acme", "--name", "Day", "--max-cost-per-day", "1"),
        stdin=HOSTS["vllm"].key,
    )
    cloud = ("--preset", "vertex", "--base-url", origin + HOSTS["vertex"].path)
    installation.run_each(
        (*added, "cloud", *cloud, "--secret-stdin"),
        _prices("cloud", GEMINI),
        stdin=service_account().replace("{origin}", origin),
    )
    return installation.serve(2)


@pytest.fixture(autouse=True)
def _quiet(vllm: Upstream) -> None:
    vllm.reset()


@pytest.fixture
def clients(servers: list[Server], installation: Installation) -> Iterator[list[openai.OpenAI]]:
    """OpenAI's client at each process; it does not repeat requests."""
    with ExitStack() as opened:
        yield [
            opened.enter_context(
                openai.OpenAI(
                    base_url=f"{each.url}/v1", api_key=installation.key, max_retries=0, timeout=300
                )
            )
            for each in servers
        ]


def _last(rows: Rows) -> tuple[Any, ...]:
    """Return status, provider, tokens and cost of the newest request, once it has ended."""
    assert rows.unresolved() == 0
    columns = "status, provider, input_tokens, output_tokens, cost_nanoeur"
    query = f"SELECT {columns} FROM ai_request_log ORDER BY occurred_at DESC, id DESC LIMIT 1"  # noqa: S608
    return rows.query(query)[0]


def _charged(input_tokens: int, output_tokens: int, provider: str = "local") -> tuple[Any, ...]:
    cost = input_tokens * INPUT + output_tokens * OUTPUT
    return "ok", provider, input_tokens, output_tokens, cost


def test_openais_client_uses_row(clients: list[openai.OpenAI], rows: Rows) -> None:
    client = clients[0]
    plain = client.chat.completions.create(model=LOCAL, messages=HELLO)
    assert plain.choices[0].message.content == "Say hello to all"
    assert _last(rows) == _charged(4, 4)
    with client.chat.completions.stream(model=LOCAL, messages=HELLO) as stream:
        assert stream.get_final_completion().choices[0].message.content == "Say hello to all"
    assert _last(rows) == _charged(4, 4)
    with client.responses.stream(model=LOCAL, input="Say hello") as events:
        assert events.get_final_response().output_text == "Say hello"
    assert _last(rows) == _charged(2, 2)
    assert len(client.embeddings.create(model=LOCAL, input=["one two"]).data) == 1
    assert _last(rows) == ("ok", "local", 2, 0, 2 * INPUT)


def test_anthropics_client_uses_row(
    servers: list[Server], installation: Installation, rows: Rows
) -> None:
    with anthropic.Anthropic(
        base_url=servers[1].url, api_key=installation.key, max_retries=0
    ) as client:
        plain = client.messages.create(model=LOCAL, messages=HELLO, max_tokens=50)
        assert plain.content[0].type == "text"
        with client.messages.stream(model=LOCAL, messages=HELLO, max_tokens=50) as stream:
            assert stream.get_final_text() == "Say hello to all"
        assert _last(rows) == _charged(4, 4)
        counted = client.messages.count_tokens(model=LOCAL, messages=HELLO)
    assert (counted.input_tokens, _last(rows)[-1]) == (4, 0)


def test_googles_client_uses_row(
    servers: list[Server], installation: Installation, rows: Rows
) -> None:
    options = types.HttpOptions(base_url=servers[0].url)
    with genai.Client(api_key=installation.key, http_options=options) as client:
        answer = client.models.generate_content(model=f"cloud/{GEMINI}", contents="Say hello")
    assert answer.text == "Say hello"
    assert _last(rows) == _charged(2, 2, "cloud")


def test_change_of_row_counts_at_next_request_of_other_process(
    clients: list[openai.OpenAI], installation: Installation, vllm: Upstream
) -> None:
    for client in clients:
        client.chat.completions.create(model=LOCAL, messages=HELLO)
    installation.run_each(
        ("providers", "rotate-secret", "local", "--secret-stdin"), stdin="sk-another-key"
    )
    for client in clients:
        with pytest.raises(openai.APIStatusError, match="refused the credentials of this gateway"):
            client.chat.completions.create(model=LOCAL, messages=HELLO)
    assert vllm.calls()[-1]["headers"]["authorization"] == "Bearer sk-another-key"
    key = HOSTS["vllm"].key
    installation.run_each(("providers", "rotate-secret", "local", "--secret-stdin"), stdin=key)
    for client in clients:
        client.chat.completions.create(model=LOCAL, messages=HELLO)
    installation.run("providers", "update", "local", "--disable")
    for client in clients:
        with pytest.raises(openai.APIStatusError, match="is not known to this gateway"):
            client.chat.completions.create(model=LOCAL, messages=HELLO)
    installation.run("providers", "update", "local", "--enable")
    for client in clients:
        client.chat.completions.create(model=LOCAL, messages=HELLO)


def test_stream_to_row_of_killed_process_is_charged_within_its_hold(
    clients: list[openai.OpenAI], installation: Installation, vllm: Upstream, rows: Rows
) -> None:
    vllm.answers({"times": FOREVER, "endless": True, "drip_s": 0.02})
    [server] = installation.serve()
    client = clients[0].with_options(base_url=f"{server.url}/v1")
    stream = client.chat.completions.create(
        model=LOCAL, messages=HELLO, stream=True, max_tokens=5_000
    )
    texts = (choice.delta.content for chunk in stream for choice in chunk.choices)
    assert next(filter(None, texts)).startswith("Say")
    server.kill()
    with pytest.raises(openai.APIConnectionError):
        list(stream)
    vllm.reset()
    rows.let_instances_look_dead()
    installation.run_each(("ledger", "reap"), ("ledger", "verify"), ("audit", "verify"))
    [(state, held, charged)] = rows.query(
        "SELECT state, amount_nanoeur, charged_nanoeur FROM hold ORDER BY held_at DESC LIMIT 1"
    )
    assert (state, charged) == ("unknown", held)
    assert 5_000 * OUTPUT < held < EUR
    assert rows.disagreements() == []
    assert rows.value("SELECT count(*) FROM hold WHERE state = 'held'") == 0
    clients[0].chat.completions.create(model=LOCAL, messages=HELLO)
    assert _last(rows) == _charged(4, 4)
    assert HOSTS["vllm"].key not in installation.logs()
