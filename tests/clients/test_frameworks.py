"""Libraries on top of OpenAI's format: LangChain, pydantic-ai and the command `llm`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from openai import AsyncOpenAI
from pydantic import BaseModel, SecretStr
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.clients.questions import ANSWER, CHAT_TOOL, PARIS, PROMPT, TWO_CALLS, WEATHER, WORDS
from tests.clients.targets import EMBEDDERS, MODELS, Target
from tests.system.processes import ROOT
from tests.system.servers import clean_environment
from tests.system.upstream import Upstream

MODEL = MODELS["openai"]
COMMAND_MAX_S = 300


class Weather(BaseModel):
    """The schema of a structured answer."""

    city: str
    unit: str


# --- LangChain ------------------------------------------------------------------------------------


@pytest.fixture
def chain(target: Target) -> ChatOpenAI:
    return ChatOpenAI(
        model=MODEL,
        base_url=target.base_url("openai"),
        api_key=SecretStr(target.key),
        max_retries=0,
        stream_usage=True,
    )


def test_langchain_asks_and_streams(chain: ChatOpenAI) -> None:
    answer = chain.invoke([("system", "Be brief"), ("user", PROMPT)])
    assert answer.content == PROMPT
    assert answer.response_metadata["finish_reason"] == "stop"
    whole: AIMessageChunk | None = None
    for piece in chain.stream([("system", "Be brief"), ("user", PROMPT)]):
        whole = piece if whole is None else whole + piece
    assert whole is not None
    assert whole.content == PROMPT
    for message in (answer, whole):
        assert message.usage_metadata
        assert message.usage_metadata["input_tokens"] == WORDS + 2
        assert message.usage_metadata["output_tokens"] == WORDS


def test_langchain_calls_tools_and_reads_shapes(chain: ChatOpenAI, upstream: Upstream) -> None:
    upstream.answers({"tool_calls": TWO_CALLS}, {"content": json.dumps(PARIS)})
    answer = chain.bind_tools([CHAT_TOOL]).invoke(PROMPT)
    assert [call["args"] for call in answer.tool_calls] == [call["arguments"] for call in TWO_CALLS]
    shaped = chain.with_structured_output(Weather, method="json_schema")
    assert shaped.invoke(PROMPT) == Weather(**PARIS)


def test_langchain_embeds_by_tokens(target: Target) -> None:
    embedder = OpenAIEmbeddings(
        model=EMBEDDERS["openai"],
        base_url=target.base_url("openai"),
        api_key=SecretStr(target.key),
        max_retries=0,
        check_embedding_ctx_length=False,
    )
    assert len(embedder.embed_documents([PROMPT, "two words"])) == 2


# --- pydantic-ai ----------------------------------------------------------------------------------


async def test_pydantic_ai_agent_uses_tool_and_answers(target: Target, upstream: Upstream) -> None:
    upstream.answers({"tool_calls": [WEATHER]}, {"content": ANSWER})
    asked: list[str] = []
    async with AsyncOpenAI(
        base_url=target.base_url("openai"), api_key=target.key, max_retries=0
    ) as client:
        provider = OpenAIProvider(openai_client=client)
        agent = Agent(OpenAIChatModel(MODEL, provider=provider), instructions="Be brief")

        @agent.tool_plain
        def get_weather(city: str, unit: str) -> str:
            """Return the weather."""
            asked.append(f"{city} {unit}")
            return "21"

        result = await agent.run(PROMPT)
    assert (asked, result.output) == (["Paris celsius"], ANSWER)
    first, second = upstream.calls()
    assert first["body"]["tools"][0]["function"]["name"] == "get_weather"
    assert second["body"]["messages"][-1]["content"] == "21"


async def test_pydantic_ai_agent_streams(target: Target) -> None:
    async with AsyncOpenAI(
        base_url=target.base_url("openai"), api_key=target.key, max_retries=0
    ) as client:
        agent = Agent(OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=client)))
        async with agent.run_stream(PROMPT) as result:
            pieces = [text async for text in result.stream_text(delta=True, debounce_by=None)]
            usage = result.usage
        assert "".join(pieces) == PROMPT
        assert len(pieces) == WORDS
        assert usage.output_tokens == WORDS


# --- llm ------------------------------------------------------------------------------------------


@pytest.fixture
def llm_folder(target: Target, tmp_path: Path) -> Path:
    """A folder that configures one more model for `llm`, at the path's base URL."""
    model = {
        "model_id": "governed",
        "model_name": MODEL,
        "api_base": target.base_url("openai"),
        "api_key_name": "governed",
        "supports_tools": True,
        "supports_schema": True,
    }
    (tmp_path / "extra-openai-models.yaml").write_text(yaml.safe_dump([model]))
    (tmp_path / "keys.json").write_text(json.dumps({"governed": target.key}))
    return tmp_path


@pytest.mark.parametrize("way", [[], ["--no-stream"]], ids=["streamed", "plain"])
def test_llm_command_answers(way: list[str], llm_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llm", "-m", "governed", "-s", "Be brief", "-u", *way, PROMPT],
        env=clean_environment() | {"LLM_USER_PATH": str(llm_folder)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=COMMAND_MAX_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == PROMPT
    assert f"{WORDS + 2} input, {WORDS} output" in done.stderr
