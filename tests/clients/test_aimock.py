"""A third-party fake provider: the gateway does not change its answers.

aimock, https://github.com/CopilotKit/aimock, is installed by npm from a lock file and speaks the
vendors' formats as its authors read them. What it answers is in `aimock/fixtures.json`.
"""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import anthropic
import httpx2
import openai
import pytest
from google import genai
from google.genai import types

from tests.clients.node_clients import installed
from tests.clients.questions import ANTHROPIC_TOOL, CHAT_TOOL, PARAMETERS, PROMPT
from tests.clients.raw import CASES, Case, ask
from tests.clients.seen import Seen, of_chat, of_chat_stream, of_gemini, of_message
from tests.clients.targets import MODELS, Target, gateway_target
from tests.clients.test_rows import row_of
from tests.system.rows import Rows
from tests.system.servers import HOST, KEY_VARIABLES, Installation, clean_environment, free_port

pytestmark = pytest.mark.aimock

FOLDER: Final = Path(__file__).parent / "aimock"
START_MAX_S: Final = 120.0
# What is asked, and of its answer the end, in the words of chat completions, and the tokens.
QUESTIONS: Final = {
    PROMPT: ("stop", 17, 9),
    "Tell me the weather": ("tool_calls", 41, 23),
    "Tell a long story": ("length", 5, 100),
}
REFUSED: Final = {"This is too much": 429, "You are broken": 502}
# What aimock does not have: these methods, an array that grows, and any version but one.
_MISSING: Final = {"a count of tokens", "countTokens", "generateContent of v1", "Google's array"}
SERVED: Final = [case for case in CASES if case.name not in _MISSING and "n" not in case.body]
ASKED: Final = [case for case in SERVED if "mbeddings" not in case.name]
# It makes new ones for each answer.
_MADE_UP: Final = re.compile(rb'"(?:id|item_id|call_id)": ?"(?:msg|fc|resp|item)[-_][^"]*"')


@dataclass(frozen=True, slots=True)
class Both:
    """aimock as a target, and a gateway that is configured with it."""

    direct: Target
    gateway: Target


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Run aimock on a loopback port."""
    folder, taken = installed(FOLDER), free_port()
    program = folder / "node_modules/@copilotkit/aimock/dist/cli.js"
    options = ("--port", str(taken), "--fixtures", str(folder / "fixtures.json"), "--strict")
    process = subprocess.Popen(
        ["node", str(program), *options],  # noqa: S607 - the user's own Node
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://{HOST}:{taken}/health")
        yield taken
    finally:
        process.kill()
        process.wait()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + START_MAX_S
    while time.monotonic() < deadline:
        try:
            httpx2.get(url, trust_env=False).raise_for_status()
        except httpx2.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"aimock does not answer within {START_MAX_S} s")


@pytest.fixture(scope="module")
def both(port: int, installation: Installation) -> Both:
    """Both targets."""
    url = f"http://{HOST}:{port}"
    urls = {"openai": f"{url}/v1", "anthropic": url, "google": url, "mistral": url}
    variables = {
        "OPENAI_BASE_URL": urls["openai"],
        "ANTHROPIC_BASE_URL": url,
        "GOOGLE_GEMINI_BASE_URL": url,
        "MISTRAL_BASE_URL": url,
        **dict.fromkeys(KEY_VARIABLES.values(), "aimock-takes-any"),
    }
    [server] = installation.serve(**variables)
    direct = Target(urls, "aimock-takes-any")
    return Both(direct, gateway_target(server.url, installation.key))


def _with_prompt(case: Case, prompt: str) -> Case:
    body = json.dumps(case.body, ensure_ascii=False).replace(PROMPT, prompt)
    return replace(case, body=json.loads(body))


BY_CASE: Final = pytest.mark.parametrize("case", ASKED, ids=lambda case: case.name)
BY_QUESTION: Final = pytest.mark.parametrize("prompt", QUESTIONS, ids=["text", "tools", "cut"])


@BY_QUESTION
@BY_CASE
def test_relayed_answer_is_identical_to_aimocks(
    case: Case, prompt: str, both: Both, http: httpx2.Client, installation: Installation
) -> None:
    asked, client = _with_prompt(case, prompt), f"client-{secrets.token_hex(6)}"
    direct = ask(http, both.direct, asked)
    through = ask(http, both.gateway, asked, **{"x-pulse-client-id": client})
    assert (through.status_code, direct.status_code) == (200, 200)
    assert _MADE_UP.sub(b"", through.content) == _MADE_UP.sub(b"", direct.content)
    assert through.headers["content-type"] == direct.headers["content-type"]
    row = row_of(client, Rows(installation.database_url))
    _, *tokens = QUESTIONS[prompt]
    # It knows Mistral's stream for OpenAI's, which tells no usage unasked.
    expected = ["unknown", None, None] if case.name == "Mistral, streamed" else ["ok", *tokens]
    assert [row["status"], row["input"], row["output"]] == expected


@pytest.mark.parametrize("prompt", REFUSED)
@BY_CASE
def test_refusal_keeps_vendor_message(
    case: Case, prompt: str, both: Both, http: httpx2.Client, installation: Installation
) -> None:
    asked, client = _with_prompt(case, prompt), f"client-{secrets.token_hex(6)}"
    direct = ask(http, both.direct, asked)
    through = ask(http, both.gateway, asked, **{"x-pulse-client-id": client})
    assert through.status_code == REFUSED[prompt]
    assert direct.json()["error"]["message"] in through.text
    row = row_of(client, Rows(installation.database_url))
    assert (row["status"], row["cost"]) == ("error", 0)


def test_embeddings_are_identical_to_aimocks(both: Both, http: httpx2.Client) -> None:
    for case in (case for case in SERVED if case not in ASKED):
        direct, through = ask(http, both.direct, case), ask(http, both.gateway, case)
        assert (through.status_code, through.content) == (200, direct.content)


# --- translated -----------------------------------------------------------------------------------


def _of_anthropic(target: Target, prompt: str, *, stream: bool) -> Seen:
    question: dict[str, Any] = {
        "model": MODELS["anthropic"],
        "max_tokens": 100,
        "messages": [{"role": "user", "content": prompt}],
        "tools": [ANTHROPIC_TOOL],
    }
    url = target.base_url("anthropic")
    with anthropic.Anthropic(base_url=url, api_key=target.key, max_retries=0) as client:
        if not stream:
            return of_message(client.messages.create(**question))
        with client.messages.stream(**question) as events:
            return of_message(events.get_final_message())


def _of_google(target: Target, prompt: str, *, stream: bool) -> Seen:
    tool = types.FunctionDeclaration(name="get_weather", parameters_json_schema=PARAMETERS)
    question: dict[str, Any] = {
        "model": MODELS["google"],
        "contents": prompt,
        "config": types.GenerateContentConfig(
            max_output_tokens=100, tools=[types.Tool(function_declarations=[tool])]
        ),
    }
    options = types.HttpOptions(base_url=target.base_url("google"), api_version="v1beta")
    with genai.Client(api_key=target.key, http_options=options) as client:
        if stream:
            return of_gemini(list(client.models.generate_content_stream(**question)))
        return of_gemini([client.models.generate_content(**question)])


def _of_chat(target: Target, model: str, prompt: str, *, stream: bool) -> Seen:
    question: dict[str, Any] = {
        "model": model,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": prompt}],
        "tools": [CHAT_TOOL],
    }
    with openai.OpenAI(
        base_url=target.base_url("openai"), api_key=target.key, max_retries=0
    ) as client:
        completions = client.chat.completions
        if not stream:
            return of_chat(completions.create(**question))
        asked = {**question, "stream": True, "stream_options": {"include_usage": True}}
        return of_chat_stream(list(completions.create(**asked)))


# Of Google's answers with a call of a tool it has a word that Google has not.
@pytest.mark.filterwarnings("ignore:FUNCTION_CALL is not a valid FinishReason:UserWarning")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@BY_QUESTION
@pytest.mark.parametrize(
    ("vendor", "own"),
    [("anthropic", _of_anthropic), ("google", _of_google)],
    ids=["anthropic", "google"],
)
def test_translated_answer_equals_that_of_vendor_client(
    vendor: str, own: Callable[..., Seen], prompt: str, stream: bool, both: Both
) -> None:
    direct = own(both.direct, prompt, stream=stream)
    through = _of_chat(both.gateway, MODELS[vendor], prompt, stream=stream)
    ending, *tokens = QUESTIONS[prompt]
    assert (through.content, through.tools) == (direct.content, direct.tools)
    assert [through.input_tokens, through.output_tokens] == tokens
    assert [direct.input_tokens, direct.output_tokens] == tokens
    assert through.finish_reason == ending
