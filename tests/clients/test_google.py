"""Google's client, with its default API version and the beta."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import types

from tests.clients.questions import ABOUT, PARAMETERS, PROMPT, TWO_CALLS, WORDS
from tests.clients.seen import Seen, of_gemini
from tests.clients.targets import EMBEDDERS, MODELS, Target
from tests.system.upstream import Upstream

MODEL = MODELS["google"]
TOOL = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="get_weather",
            description=ABOUT,
            parameters_json_schema=PARAMETERS,
        )
    ]
)
BY_HAND = types.AutomaticFunctionCallingConfig(disable=True)


@pytest.fixture(params=[None, "v1beta"], ids=["its-version", "v1beta"])
def client(target: Target, request: pytest.FixtureRequest) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=target.base_url("google"), api_version=request.param)
    opened = genai.Client(api_key=target.key, http_options=options)
    yield opened
    opened.close()


@pytest.fixture
def config(client: genai.Client) -> types.GenerateContentConfig:
    """Additional settings; a system instruction exists only in the beta."""
    return types.GenerateContentConfig(
        max_output_tokens=100, temperature=0.5, automatic_function_calling=BY_HAND
    )


def test_content_is_generated(client: genai.Client, config: types.GenerateContentConfig) -> None:
    answer = client.models.generate_content(model=MODEL, contents=PROMPT, config=config)
    expected = Seen(
        content=PROMPT, finish_reason="STOP", input_tokens=WORDS, output_tokens=WORDS, events=1
    )
    assert of_gemini([answer]) == expected
    assert answer.model_version == MODEL


# As the client does: it makes a session class of its own, which aiohttp discourages.
@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
async def test_content_is_generated_asynchronously(
    client: genai.Client, config: types.GenerateContentConfig
) -> None:
    async with client.aio as opened:
        answer = await opened.models.generate_content(model=MODEL, contents=PROMPT, config=config)
        assert of_gemini([answer]).content == PROMPT
        stream = await opened.models.generate_content_stream(
            model=MODEL, contents=PROMPT, config=config
        )
        assert of_gemini([piece async for piece in stream]).content == PROMPT


def test_stream_reports_usage_at_end(
    client: genai.Client, config: types.GenerateContentConfig, upstream: Upstream
) -> None:
    pieces = list(
        client.models.generate_content_stream(model=MODEL, contents=PROMPT, config=config)
    )
    expected = Seen(
        content=PROMPT, finish_reason="STOP", input_tokens=WORDS, output_tokens=WORDS, events=WORDS
    )
    assert of_gemini(pieces) == expected
    [call] = upstream.calls()
    assert call["sent_pieces"] == WORDS


def test_functions_are_called(
    client: genai.Client, config: types.GenerateContentConfig, upstream: Upstream
) -> None:
    upstream.answers({"tool_calls": TWO_CALLS, "times": 2})
    question: dict[str, Any] = {
        "model": MODEL,
        "contents": PROMPT,
        "config": config.model_copy(update={"tools": [TOOL]}),
    }
    plain = of_gemini([client.models.generate_content(**question)])
    assert plain.tools == tuple((call["name"], call["arguments"]) for call in TWO_CALLS)
    streamed = of_gemini(list(client.models.generate_content_stream(**question)))
    assert streamed.tools == plain.tools
    for call in upstream.calls():
        [tool] = call["body"]["tools"]
        assert tool["functionDeclarations"][0]["name"] == "get_weather"


def test_image_arrives_unchanged(client: genai.Client, upstream: Upstream) -> None:
    image = types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png")
    client.models.generate_content(model=MODEL, contents=[image, "What is this?"])
    [call] = upstream.calls()
    # The client writes this one field as its own types do; the vendor takes both spellings.
    inline = call["body"]["contents"][0]["parts"][0]["inlineData"]
    assert inline == {"data": "iVBORw==", "mime_type": "image/png"}


def test_tokens_are_counted(client: genai.Client, upstream: Upstream) -> None:
    assert client.models.count_tokens(model=MODEL, contents=PROMPT).total_tokens == WORDS
    [call] = upstream.calls()
    assert call["path"].endswith(f"/models/{MODEL}:countTokens")


def test_contents_are_embedded(client: genai.Client) -> None:
    answer = client.models.embed_content(
        model=EMBEDDERS["google"],
        contents=[PROMPT, "two words"],
        config=types.EmbedContentConfig(output_dimensionality=8, task_type="RETRIEVAL_QUERY"),
    )
    vectors = [each.values for each in answer.embeddings or []]
    assert [len(vector or []) for vector in vectors] == [8, 8]
    assert vectors[0] != vectors[1]
