"""Anthropic's and Google's own libraries with a real server: only base URL and key change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import anthropic
import pytest
from anthropic.types import ToolParam
from google import genai
from google.genai import errors, types

from tests.gateway.small_vendor import SmallVendor
from tests.system.clients import MODELS
from tests.system.rows import Rows
from tests.system.servers import HOST, Installation, Server
from tests.system.upstream import Upstream

PROMPT: Final = "Say hello to everyone here, «ü» and \\ all"
SONNET: Final = MODELS["anthropic"]
FLASH: Final = MODELS["google"]
TOOL: Final[ToolParam] = {
    "name": "look_up",
    "description": "Looks something up",
    "input_schema": {"type": "object", "properties": {"what": {"type": "string"}}},
}
COUNTED: Final = 17


@pytest.fixture(autouse=True)
def _nothing_is_left_of_others(rows: Rows, upstream: Upstream) -> None:
    rows.execute("DELETE FROM policy")
    upstream.reset()


@dataclass(frozen=True, slots=True)
class Libraries:
    """Makes the vendors' clients, which are closed when the test is over."""

    opened: ExitStack

    def anthropic(self, url: str, key: str) -> anthropic.Anthropic:
        """Return Anthropic's client, which does not try again."""
        made = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0)
        return self.opened.enter_context(made)

    def google(self, url: str, key: str, version: str | None = "v1beta") -> genai.Client:
        """Return Google's client."""
        options = types.HttpOptions(base_url=url, api_version=version)
        made = genai.Client(api_key=key, http_options=options)
        self.opened.callback(made.close)
        return made


@pytest.fixture
def libraries() -> Iterator[Libraries]:
    """The vendors' libraries."""
    with ExitStack() as opened:
        yield Libraries(opened)


@pytest.fixture
def claude(libraries: Libraries, server: Server, installation: Installation) -> anthropic.Anthropic:
    """Anthropic's client at the gateway."""
    return libraries.anthropic(server.url, installation.key)


@pytest.fixture
def gemini(libraries: Libraries, server: Server, installation: Installation) -> genai.Client:
    """Google's client at the gateway."""
    return libraries.google(server.url, installation.key)


@pytest.fixture(scope="module")
def small() -> Iterator[SmallVendor]:
    """A vendor for answers that the fake provider does not have."""
    with SmallVendor() as running:
        yield running


@pytest.fixture(scope="module")
def other_server(installation: Installation, small: SmallVendor) -> Server:
    """A server whose vendors are the small one."""
    urls = {"ANTHROPIC_BASE_URL": small.url, "GOOGLE_GEMINI_BASE_URL": small.url}
    [started] = installation.serve(**urls)
    return started


def last_row(rows: Rows) -> tuple[Any, ...]:
    """Return status, channel, model and tokens of the newest request."""
    columns = "status, channel, model, input_tokens, output_tokens"
    query = f"SELECT {columns} FROM ai_request_log ORDER BY occurred_at DESC, id DESC LIMIT 1"  # noqa: S608
    return rows.query(query)[0]


# --- Anthropic --------------------------------------------------------------------------------

ASKED: Final[dict[str, Any]] = {
    "model": SONNET,
    "max_tokens": 60,
    "system": "Be brief",
    "messages": [{"role": "user", "content": PROMPT}],
}


def test_message_equals_vendor_message(
    libraries: Libraries, claude: anthropic.Anthropic, upstream: Upstream, rows: Rows
) -> None:
    through = claude.messages.create(**ASKED, tools=[TOOL])
    direct = libraries.anthropic(f"http://{HOST}:{upstream.port}/anthropic", "k").messages.create(
        **ASKED
    )
    assert through.model_dump() == direct.model_dump()
    assert through.content[0].type == "text"
    assert through.content[0].text == PROMPT
    usage = through.usage
    assert last_row(rows) == ("ok", "messages", SONNET, usage.input_tokens, usage.output_tokens)


def test_streamed_message_has_vendor_events(
    libraries: Libraries, claude: anthropic.Anthropic, upstream: Upstream, rows: Rows
) -> None:
    direct = libraries.anthropic(f"http://{HOST}:{upstream.port}/anthropic", "k")
    seen = []
    for client in (claude, direct):
        with client.messages.stream(**ASKED) as stream:
            events = [event.model_dump() for event in stream]
            seen.append((events, stream.get_final_message().model_dump()))
        if client is claude:
            status, _, _, _, output_tokens = last_row(rows)
            assert (status, output_tokens) == ("ok", seen[0][1]["usage"]["output_tokens"])
    assert seen[0] == seen[1]
    assert "".join(each["text"] for each in seen[0][0] if each["type"] == "text") == PROMPT


def test_betas_reach_vendor_but_those_that_change_payer(
    claude: anthropic.Anthropic, upstream: Upstream
) -> None:
    betas = ["fast-mode-2026-02-01", "user-profiles-2026-09-04", "context-1m-2025-08-07"]
    claude.beta.messages.create(**ASKED, betas=betas)
    [call] = upstream.calls()
    assert call["path"] == "/anthropic/v1/messages"
    assert call["headers"]["anthropic-beta"] == "fast-mode-2026-02-01,context-1m-2025-08-07"
    assert call["headers"]["anthropic-version"] == claude.default_headers["anthropic-version"]
    assert call["body"]["service_tier"] == "standard_only"


def test_features_that_could_exceed_bound_raise(
    claude: anthropic.Anthropic, upstream: Upstream
) -> None:
    slips: list[dict[str, Any]] = [
        {"speed": "fast"},
        {"mcp_servers": [{"type": "url", "name": "x", "url": "https://example.org"}]},
        {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]},
        {"container": "container_1"},
    ]
    for slip in slips:
        with pytest.raises(anthropic.BadRequestError) as refused:
            claude.beta.messages.create(**ASKED, **slip)
        assert isinstance(refused.value.body, dict)
        assert refused.value.body["error"]["type"] == "invalid_request_error"
    assert upstream.calls() == []


def test_refusals_raise_matching_anthropic_error(
    libraries: Libraries,
    installation: Installation,
    server: Server,
    claude: anthropic.Anthropic,
    upstream: Upstream,
) -> None:
    with pytest.raises(anthropic.AuthenticationError):
        libraries.anthropic(server.url, "pulse_wrong").messages.create(**ASKED)
    with pytest.raises(anthropic.BadRequestError, match="is not available at /v1/messages"):
        claude.messages.create(**ASKED | {"model": "gpt-4o"})
    upstream.answers({"status": 429}, {"status": 529}, {"status": 404})
    with pytest.raises(anthropic.RateLimitError, match="answers 429"):
        claude.messages.create(**ASKED)
    with pytest.raises(anthropic.InternalServerError, match="answers 529"):
        claude.messages.create(**ASKED)
    with pytest.raises(anthropic.NotFoundError, match="answers 404"):
        claude.messages.create(**ASKED)
    installation.run("policies", "create", "acme", "--name", "No", "--block", "*")
    for stream in (False, True):
        with pytest.raises(anthropic.BadRequestError, match='blocked by policy "No"'):
            claude.messages.create(**ASKED, stream=stream)


def test_interrupted_message_raises_in_anthropic_client(
    claude: anthropic.Anthropic, upstream: Upstream
) -> None:
    upstream.answers({"cut_after_bytes": 900})
    with (
        pytest.raises(anthropic.APIStatusError, match="closed the connection"),
        claude.messages.stream(**ASKED) as stream,
    ):
        stream.until_done()


def test_anthropic_client_counts_tokens(
    libraries: Libraries,
    other_server: Server,
    installation: Installation,
    small: SmallVendor,
    rows: Rows,
) -> None:
    small.answers("/v1/messages/count_tokens", b'{"input_tokens": %d}' % COUNTED)
    client = libraries.anthropic(other_server.url, installation.key)
    asked = {name: value for name, value in ASKED.items() if name != "max_tokens"}
    assert client.messages.count_tokens(**asked, tools=[TOOL]).input_tokens == COUNTED
    assert last_row(rows) == ("ok", "messages.count_tokens", SONNET, 0, 0)


# --- Google -----------------------------------------------------------------------------------

CONFIG: Final = types.GenerateContentConfig(system_instruction="Be brief", max_output_tokens=60)


def comparable(response: types.GenerateContentResponse) -> dict[str, Any]:
    """Return an answer without what the transport adds to it."""
    return response.model_dump(exclude={"sdk_http_response"})


def test_content_equals_vendor_content(
    libraries: Libraries, gemini: genai.Client, upstream: Upstream, rows: Rows
) -> None:
    direct = libraries.google(f"http://{HOST}:{upstream.port}/google", "k")
    answers = []
    for client in (gemini, direct):
        answers.append(client.models.generate_content(model=FLASH, contents=PROMPT, config=CONFIG))
        if client is gemini:
            row = last_row(rows)
    assert comparable(answers[0]) == comparable(answers[1])
    assert answers[0].text == PROMPT
    usage = answers[0].usage_metadata
    assert usage is not None
    tokens = (usage.prompt_token_count, usage.candidates_token_count)
    assert row == ("ok", "generateContent", FLASH, *tokens)


def test_streamed_content_has_vendor_chunks(
    libraries: Libraries, gemini: genai.Client, upstream: Upstream, rows: Rows
) -> None:
    direct = libraries.google(f"http://{HOST}:{upstream.port}/google", "k")
    seen = []
    for client in (gemini, direct):
        chunks = client.models.generate_content_stream(model=FLASH, contents=PROMPT, config=CONFIG)
        seen.append([comparable(chunk) for chunk in chunks])
        if client is gemini:
            row = last_row(rows)
    assert seen[0] == seen[1]
    assert len(seen[0]) == len(PROMPT.split(" "))
    assert row[:2] == ("ok", "streamGenerateContent")
    assert row[4] == len(PROMPT.split(" "))


def test_refusals_raise_matching_google_error(
    libraries: Libraries,
    installation: Installation,
    server: Server,
    gemini: genai.Client,
    upstream: Upstream,
) -> None:
    def failing(client: genai.Client, *, model: str = FLASH, **config: Any) -> errors.APIError:
        given = types.GenerateContentConfig(**config)
        with pytest.raises(errors.APIError) as failed:
            client.models.generate_content(model=model, contents=PROMPT, config=given)
        return failed.value

    wrong = failing(libraries.google(server.url, "pulse_wrong"))
    assert (wrong.code, wrong.status) == (401, "UNAUTHENTICATED")
    slips: list[dict[str, Any]] = [
        {"cached_content": "cachedContents/x"},
        {"response_modalities": ["IMAGE"]},
        {"tools": [types.Tool(google_maps=types.GoogleMaps())]},
    ]
    for slip in slips:
        refused = failing(gemini, **slip)
        assert isinstance(refused, errors.ClientError)
        assert (refused.code, refused.status) == (400, "INVALID_ARGUMENT")
    assert "not available" in (failing(gemini, model="gpt-4o").message or "")
    assert upstream.calls() == []
    upstream.answers({"status": 429}, {"status": 503})
    assert failing(gemini).status == "RESOURCE_EXHAUSTED"
    assert isinstance(failing(gemini), errors.ServerError)
    installation.run("policies", "create", "acme", "--name", "No", "--block", "*")
    blocked = failing(gemini)
    assert (blocked.code, blocked.status) == (400, "INVALID_ARGUMENT")
    with pytest.raises(errors.ClientError, match='blocked by policy "No"'):
        list(gemini.models.generate_content_stream(model=FLASH, contents=PROMPT))


def test_interrupted_content_raises_in_google_client(
    gemini: genai.Client, upstream: Upstream
) -> None:
    upstream.answers({"cut_after_bytes": 900})
    with pytest.raises(errors.ServerError, match="closed the connection"):
        list(gemini.models.generate_content_stream(model=FLASH, contents=PROMPT))


def test_google_client_counts_and_calls_its_own_version(
    libraries: Libraries,
    other_server: Server,
    installation: Installation,
    small: SmallVendor,
    rows: Rows,
) -> None:
    content = b'{"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}'
    for version in ("v1", "v1beta"):
        small.answers(f"/{version}/models/{FLASH}:countTokens", b'{"totalTokens": %d}' % COUNTED)
        small.answers(f"/{version}/models/{FLASH}:generateContent", content)
    for chosen, used in (("v1", "v1"), ("v1beta", "v1beta"), (None, "v1")):
        client = libraries.google(other_server.url, installation.key, chosen)
        counted = client.models.count_tokens(model=FLASH, contents=PROMPT)
        assert counted.total_tokens == COUNTED
        assert last_row(rows) == ("ok", "countTokens", FLASH, 0, 0)
        assert client.models.generate_content(model=FLASH, contents=PROMPT).text == "Hi"
        assert {seen.path.split("/")[1] for seen in small.seen[-2:]} == {used}
