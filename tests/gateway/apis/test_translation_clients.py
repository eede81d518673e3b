"""OpenAI's clients with models of Anthropic, Google and the sandbox."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import openai
import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import OpenAI
from pydantic import BaseModel, SecretStr
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from gateway.call.runtime import Gateway
from gateway.models import AiRequestLog
from tests.factories import RateFactory
from tests.fake_provider import FakeProvider
from tests.gateway.openai_client import BASE_URL, InProcess, async_openai_client, openai_client
from tests.gateway.translating import CLAUDE, GEMINI, PICTURE, TALK, TIME, WEATHER

pytestmark = pytest.mark.django_db(transaction=True)

SANDBOX = "sandbox-small"
NAMED: Any = {"type": "function", "function": {"name": "get_weather"}}
TOOLS: Any = [WEATHER, TIME]
HI: Any = [{"role": "user", "content": "Hi"}]
both_vendors = pytest.mark.parametrize("vendor", ["anthropic", "google"])
MODELS = {"anthropic": CLAUDE, "google": GEMINI}
EVENTS = {"content-type": "text/event-stream"}

# What the vendors answer to a question for which they call two tools, whole and in events.
USAGE: dict[str, Any] = {
    "anthropic": {"input_tokens": 20, "output_tokens": 9, "cache_read_input_tokens": 4},
    "google": {
        "promptTokenCount": 24,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 4,
        "totalTokenCount": 33,
    },
}
BLOCKS: list[dict[str, Any]] = [
    {"type": "text", "text": "Let me see"},
    {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}},
    {"type": "tool_use", "id": "toolu_2", "name": "get_time", "input": {}},
]
PARTS: list[dict[str, Any]] = [
    {"text": "Let me see"},
    {
        "functionCall": {"id": "g1", "name": "get_weather", "args": {"city": "Paris"}},
        "thoughtSignature": "c2ln",
    },
    {"functionCall": {"name": "get_time"}},
]


def whole(vendor: str) -> dict[str, Any]:
    if vendor == "anthropic":
        message = {"type": "message", "role": "assistant", "model": CLAUDE, "content": BLOCKS}
        return {**message, "stop_reason": "tool_use", "usage": USAGE[vendor]}
    candidate = {"content": {"role": "model", "parts": PARTS}, "finishReason": "STOP"}
    return {"candidates": [candidate], "modelVersion": GEMINI, "usageMetadata": USAGE[vendor]}


def events(vendor: str) -> str:
    if vendor == "google":
        return f"data: {json.dumps(whole(vendor))}\n\n"
    begun = {**whole(vendor), "content": [], "usage": {**USAGE[vendor], "output_tokens": 1}}
    found: list[dict[str, Any]] = [{"type": "message_start", "message": begun}]
    for index, block in enumerate(BLOCKS):
        place = {"index": index}
        is_text = block["type"] == "text"
        start = {**block, "text": ""} if is_text else {**block, "input": {}}
        found.append({"type": "content_block_start", **place, "content_block": start})
        written = block["text"] if is_text else json.dumps(block["input"])
        kind = ("text_delta", "text") if is_text else ("input_json_delta", "partial_json")
        for half in (written[:5], written[5:]):
            delta = {"type": kind[0], kind[1]: half}
            found.append({"type": "content_block_delta", **place, "delta": delta})
        found.append({"type": "content_block_stop", **place})
    usage = {"output_tokens": USAGE[vendor]["output_tokens"]}
    found.append({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": usage})
    found.append({"type": "message_stop"})
    return "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in found)


@pytest.fixture
def fake(vendors: FakeProvider) -> FakeProvider:
    """The vendors, and prices for their models."""
    for vendor, model in MODELS.items():
        RateFactory.create(provider=vendor, model=model)
    return vendors


@pytest.fixture
def client(gateway: Gateway, api_key: str) -> OpenAI:
    return openai_client(api_key)


@both_vendors
def test_tools_images_and_settings_are_sent_and_calls_returned(
    client: OpenAI, fake: FakeProvider, vendor: str
) -> None:
    fake.answers(body=whole(vendor))
    messages: Any = [*TALK, {"role": "user", "content": [{"type": "text", "text": "So"}, PICTURE]}]
    answer = client.chat.completions.create(
        model=MODELS[vendor],
        messages=messages,
        tools=TOOLS,
        tool_choice="required",
        stop=["END"],
        max_completion_tokens=50,
    )
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me see"
    calls: Any = choice.message.tool_calls
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("get_weather", {"city": "Paris"}),
        ("get_time", {}),
    ]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (24, 9)
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 4
    (sent,) = fake.calls
    written = json.dumps(sent.body)
    for message in (
        "Be brief",
        "Sunny",
        "Noon",
        "iVBORw0KGgo=",
        "END",
        "50",
        "The weather of a city",
    ):
        assert message in written


@both_vendors
def test_streamed_calls_are_joined_by_helper_and_charged_as_whole_answer(
    client: OpenAI, fake: FakeProvider, vendor: str
) -> None:
    fake.answers(body=whole(vendor))
    fake.answers(body=events(vendor), headers=EVENTS)
    fields: Any = {"model": MODELS[vendor], "messages": HI, "tools": TOOLS}
    plain = client.chat.completions.create(**fields)
    with client.chat.completions.stream(**fields, stream_options={"include_usage": True}) as stream:
        seen = [event.type for event in stream]
        streamed = stream.get_final_completion()
    assert seen.count("tool_calls.function.arguments.done") == 2
    assert streamed.choices[0].finish_reason == plain.choices[0].finish_reason == "tool_calls"
    assert streamed.choices[0].message.content == "Let me see"
    for one, other in zip(  # noqa: B905  Python's own check compares the names
        plain.choices[0].message.tool_calls or (), streamed.choices[0].message.tool_calls or ()
    ):
        assert json.loads(other.function.arguments) == json.loads(one.function.arguments)
    assert streamed.usage == plain.usage
    costs = {(row.cost_nanoeur or 0, row.status) for row in AiRequestLog.objects.all()}
    ((cost, status),) = costs
    assert cost > 0
    assert status == "ok"


def test_returned_call_has_google_signature(client: OpenAI, fake: FakeProvider) -> None:
    fake.answers(body=whole("google"))
    fields: Any = {"model": GEMINI, "tools": TOOLS}
    first = client.chat.completions.create(messages=HI, **fields)
    message: Any = first.choices[0].message
    results: Any = [
        {"role": "tool", "tool_call_id": call.id, "content": "x"} for call in message.tool_calls
    ]
    client.chat.completions.create(messages=[*HI, message, *results], **fields)
    parts = fake.calls[1].body["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [None, "c2ln", None]
    made = parts[2]["functionCall"]["id"]
    assert made.startswith("call_")
    assert fake.calls[1].body["contents"][2]["parts"][1]["functionResponse"]["id"] == made


def test_disabled_parallel_calls_give_one_call_with_google(
    client: OpenAI, fake: FakeProvider
) -> None:
    fields: Any = {"model": GEMINI, "messages": HI, "tools": TOOLS}
    fake.answers(body=whole("google"))
    fake.answers(body=events("google"), headers=EVENTS)
    plain = client.chat.completions.create(**fields, parallel_tool_calls=False)
    assert len(plain.choices[0].message.tool_calls or ()) == 1
    with client.chat.completions.stream(**fields, parallel_tool_calls=False) as stream:
        streamed = stream.get_final_completion()
    assert len(streamed.choices[0].message.tool_calls or ()) == 1


@both_vendors
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (529, openai.InternalServerError),
    ],
)
def test_vendor_error_is_in_client_format_and_free(  # noqa: PLR0913  three axes
    client: OpenAI,
    fake: FakeProvider,
    vendor: str,
    streamed: bool,
    status: int,
    error: type[openai.APIStatusError],
) -> None:
    fake.answers(status=status)
    with pytest.raises(error) as raised:
        client.chat.completions.create(model=MODELS[vendor], messages=HI, stream=streamed)
    assert raised.value.status_code == status
    assert raised.value.body["message"] == f"The fake provider answers {status}"  # type: ignore[index]
    assert AiRequestLog.objects.get().cost_nanoeur == 0


def test_untranslatable_request_is_400_and_not_sent(client: OpenAI, fake: FakeProvider) -> None:
    with pytest.raises(openai.BadRequestError, match="logprobs is not supported"):
        client.chat.completions.create(model=CLAUDE, messages=HI, logprobs=True)
    assert fake.calls == []
    assert AiRequestLog.objects.get().status == "blocked"


def test_cache_markers_reach_anthropic_and_changes_are_traced(
    client: OpenAI, fake: FakeProvider
) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    fake.answers(body=whole("anthropic"))
    messages: Any = [
        {"role": "system", "content": [{"type": "text", "text": "Be brief", **mark}]},
        *HI,
    ]
    answer = client.chat.completions.create(
        model=CLAUDE, messages=messages, tools=TOOLS, temperature=1.5, top_p=0.5
    )
    (sent,) = fake.calls
    assert sent.body["system"] == [{"type": "text", "text": "Be brief", **mark}]
    assert (sent.body["temperature"], sent.body.get("top_p")) == (1.0, None)
    assert sent.headers["anthropic-version"] == "2023-06-01"
    usage: Any = answer.usage
    assert usage.prompt_tokens_details.cached_tokens == 4
    assert AiRequestLog.objects.get().decision["adjustments"] == [
        "top_p was omitted: the model takes a temperature or a top_p",
        "The temperature was lowered to 1, the maximum",
    ]


# --- the sandbox ------------------------------------------------------------------------------


class Step(BaseModel):
    """One thing to do."""

    title: str
    minutes: int


class Plan(BaseModel):
    """What to do."""

    goal: str
    first: Step


def test_sandbox_calls_required_tool(client: OpenAI, prices: object) -> None:
    with client.chat.completions.stream(
        model=SANDBOX,
        messages=[{"role": "user", "content": "Paris"}],
        tools=TOOLS,
        tool_choice=NAMED,
    ) as stream:
        message: Any = stream.get_final_completion().choices[0].message
    (call,) = message.tool_calls
    assert call.function.arguments == '{"city":"Paris"}'


def test_sandbox_answers_in_schema(client: OpenAI, prices: object) -> None:
    answer = client.chat.completions.parse(model=SANDBOX, messages=HI, response_format=Plan)
    assert answer.choices[0].message.parsed == Plan(goal="Hi", first=Step(title="Hi", minutes=0))


def test_langchain_streams_tools_and_structured_output(gateway: Gateway, api_key: str) -> None:
    http = httpx2.Client(transport=InProcess())
    model = ChatOpenAI(
        model=SANDBOX, base_url=BASE_URL, api_key=SecretStr(api_key), http_client=http
    )

    @tool
    def weather(city: str) -> str:
        """Return the weather."""
        return f"Sunny in {city}"

    assert "".join(str(piece.content) for piece in model.stream("Say hello")) == "Say hello"
    called = model.bind_tools([weather], tool_choice="required").invoke("Paris")
    assert called.tool_calls[0]["args"] == {"city": "Paris"}
    result = weather.invoke(called.tool_calls[0])
    assert model.bind_tools([weather]).invoke([("user", "Paris"), called, result]).content
    assert model.with_structured_output(Plan).invoke("Hi") == Plan(
        goal="Hi", first=Step(title="Hi", minutes=0)
    )


def test_pydantic_ai_agent_uses_tools_and_answers(gateway: Gateway, api_key: str) -> None:
    provider = OpenAIProvider(openai_client=async_openai_client(api_key))
    agent = Agent(OpenAIChatModel(SANDBOX, provider=provider), output_type=Plan)
    asked_for: list[str] = []

    @agent.tool_plain
    def weather(city: str) -> str:
        """Return the weather."""
        asked_for.append(city)
        return f"Sunny in {city}"

    result = asyncio.run(agent.run("Paris"))  # `run_sync` leaves its loop open
    assert asked_for == ["Paris"]
    assert result.output == Plan(goal="Paris", first=Step(title="Paris", minutes=0))
