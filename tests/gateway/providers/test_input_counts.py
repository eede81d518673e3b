"""Counts of the input at vendors: asked for once, of one organization, within limits."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

import orjson
import pytest

from costs.core.usage import Usage
from gateway.core.calls import Completion, ProviderCall, RelayRequest
from gateway.core.errors import (
    Broken,
    CredentialsRefused,
    ProviderFailed,
    RateLimited,
    Rejected,
    Unreachable,
)
from gateway.core.messages import Image, Message, Tool
from gateway.core.providers import ProviderConfig
from gateway.providers.input_counts import (
    AT_ONCE_MAX,
    OF_ORGANIZATION_MAX,
    InputCount,
    InputCounts,
    has_count,
    input_count_of,
)
from gateway.providers.vendors import vendors

ACME, OTHER = UUID(int=1), UUID(int=2)
SCHEMA: Final = {"type": "object", "properties": {}}
HELLO: Final = (Message(role="user", content="Hello"),)
OPTIONS: Final[dict[str, Any]] = {"timeout_s": 1.0, "max_output_tokens": 10, "temperature": 0.5}


def call_of(model: str, *messages: Message, **more: Any) -> ProviderCall:
    return ProviderCall(model=model, messages=messages or HELLO, **(OPTIONS | more))


def asking_for(text: str = "Hello", *, provider: str = "anthropic") -> InputCount:
    message = Message(role="user", content=text)
    asked = input_count_of(call_of("m", message), vendors()[provider].config)
    assert asked is not None
    return asked


@dataclass
class Vendor:
    """Counts 7 tokens, or fails, as soon as it `may_answer`."""

    failure: ProviderFailed | None = None
    usage: Usage | None = field(default_factory=lambda: Usage(input_uncached=7))
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[str, RelayRequest]] = field(default_factory=list)

    async def __call__(self, provider: ProviderConfig, request: RelayRequest) -> Completion:
        self.asked.append((provider.name, request))
        await self.may_answer.wait()
        if self.failure is not None:
            raise self.failure
        return Completion(model="m", finish_reason=None, usage=self.usage)


@pytest.fixture
def vendor() -> Vendor:
    ready = Vendor()
    ready.may_answer.set()
    return ready


async def test_same_request_is_counted_once(vendor: Vendor) -> None:
    counts = InputCounts(vendor)
    for _ in range(3):
        assert await counts.tokens(asking_for(), org_id=ACME) == 7
    assert len(vendor.asked) == 1


async def test_other_request_organization_or_provider_is_counted_itself(vendor: Vendor) -> None:
    counts = InputCounts(vendor)
    for asked, org_id in (
        (asking_for(), ACME),
        (asking_for("Hello!"), ACME),
        (asking_for(), OTHER),
        (asking_for(provider="google"), ACME),
    ):
        before = len(vendor.asked)
        assert await counts.tokens(asked, org_id=org_id) == 7
        assert len(vendor.asked) == before + 1


def test_beta_is_part_of_what_is_counted() -> None:
    asked = asking_for()
    headers = {**asked.request.headers, "anthropic-beta": "context-management-2025-06-27"}
    relayed = RelayRequest(
        dialect="messages",
        path="/",
        body=b"",
        output=None,
        headers={},
        whole=asked.request.whole,
        reading=asked.request.reading,
        input_count=lambda: replace(asked.request, headers=headers),
    )
    other = input_count_of(relayed, vendors()["anthropic"].config)
    assert other is not None
    assert other.request.body == asked.request.body
    assert other.digest != asked.digest


@pytest.mark.parametrize(
    ("failure", "pauses"),
    [
        (Rejected("no", provider_status=400), False),
        (Rejected("no", provider_status=413), False),
        (Rejected("no", provider_status=404), True),
        (Rejected("no", provider_status=529), True),
        (RateLimited("no", provider_status=429), True),
        (CredentialsRefused("no", reported="no", provider_status=401), True),
        (Unreachable("no"), True),
        (Broken("no"), True),
    ],
    ids=repr,
)
async def test_failed_count_is_not_tried_again(
    vendor: Vendor, failure: ProviderFailed, pauses: bool
) -> None:
    counts, vendor.failure = InputCounts(vendor), failure
    for _ in range(2):
        assert await counts.tokens(asking_for(), org_id=ACME) is None
    assert len(vendor.asked) == 1
    vendor.failure = None
    assert await counts.tokens(asking_for("Hi"), org_id=ACME) == (None if pauses else 7)
    assert await counts.tokens(asking_for("Hi"), org_id=OTHER) == 7
    assert await counts.tokens(asking_for("Hi", provider="google"), org_id=ACME) == 7


@pytest.mark.parametrize("usage", [None, Usage()], ids=["no number", "zero"])
async def test_answer_without_tokens_is_no_count(vendor: Vendor, usage: Usage | None) -> None:
    counts, vendor.usage = InputCounts(vendor), usage
    for _ in range(2):
        assert await counts.tokens(asking_for(), org_id=ACME) is None
    assert len(vendor.asked) == 1


async def test_count_that_takes_too_long_is_given_up() -> None:
    vendor = Vendor()
    counts = InputCounts(vendor, max_s=0.01)
    assert await counts.tokens(asking_for(), org_id=ACME) is None
    vendor.may_answer.set()
    for text in ("Hello", "Hi"):  # the vendor is not asked again soon
        assert await counts.tokens(asking_for(text), org_id=ACME) is None
    assert len(vendor.asked) == 1
    assert await counts.tokens(asking_for(), org_id=OTHER) == 7


async def started(work: Callable[[int], Awaitable[int | None]], times: int) -> list[Any]:
    """Start so many counts and return when each has come as far as it can."""
    tasks = [asyncio.ensure_future(work(number)) for number in range(times)]
    for _ in range(10):
        await asyncio.sleep(0)
    return tasks


async def test_one_organization_has_some_counts_at_once() -> None:
    vendor = Vendor()
    counts = InputCounts(vendor)

    async def of_acme(number: int) -> int | None:
        return await counts.tokens(asking_for(str(number)), org_id=ACME)

    async def of_others(number: int) -> int | None:
        return await counts.tokens(asking_for(), org_id=UUID(int=100 + number))

    tasks = await started(of_acme, OF_ORGANIZATION_MAX + 2)
    assert len(vendor.asked) == OF_ORGANIZATION_MAX
    tasks += await started(of_others, AT_ONCE_MAX)
    assert len(vendor.asked) == AT_ONCE_MAX
    vendor.may_answer.set()
    assert await asyncio.gather(*tasks) == [7] * len(tasks)


async def test_count_whose_turn_did_not_come_is_no_failure() -> None:
    vendor = Vendor()
    counts = InputCounts(vendor)

    async def of_acme(number: int) -> int | None:
        return await counts.tokens(asking_for(str(number)), org_id=ACME)

    tasks = await started(of_acme, OF_ORGANIZATION_MAX)
    counts.max_s = 0.01
    assert await counts.tokens(asking_for(), org_id=ACME) is None
    vendor.may_answer.set()
    await asyncio.gather(*tasks)
    assert await counts.tokens(asking_for(), org_id=ACME) == 7


async def test_only_last_counts_are_known(vendor: Vendor) -> None:
    counts = InputCounts(vendor, known_max=2)
    for text in ("a", "b", "c", "c", "a"):
        await counts.tokens(asking_for(text), org_id=ACME)
    assert len(vendor.asked) == 4


# --- what is asked for ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "has"),
    [("anthropic", True), ("google", True), ("openai", False), ("mistral", False)],
)
def test_vendors_that_count(provider: str, has: bool) -> None:
    config = vendors()[provider].config
    assert has_count(call_of("m"), config) is has
    assert (input_count_of(call_of("m"), config) is not None) is has
    assert not has_count(call_of("m", inputs=("Hello",)), config)


def test_count_of_call_at_anthropic_has_what_is_prompt() -> None:
    tool = Tool(name="ls", description="List", parameters=SCHEMA)
    system = Message(role="system", content="Be brief")
    call = call_of("claude-opus-4-6", system, *HELLO, tools=(tool,), stop=("x",), user="u")
    asked = input_count_of(call, vendors()["anthropic"].config)
    assert asked is not None
    assert asked.request.path == "/v1/messages/count_tokens"
    assert asked.request.headers["anthropic-version"] == "2023-06-01"
    assert orjson.loads(asked.request.body) == {
        "model": "claude-opus-4-6",
        "system": "Be brief",
        "messages": [{"role": "user", "content": "Hello"}],
        "tools": [{"name": "ls", "description": "List", "input_schema": SCHEMA}],
    }
    assert asked.request.whole(b'{"input_tokens": 12}').usage == Usage(input_uncached=12)


def test_count_of_call_at_google_has_what_is_prompt() -> None:
    picture = base64.b64encode(b"\x89PNG\xff").decode()
    seen = Message(role="user", content="", parts=(Image(data=picture, media_type="image/png"),))
    tool = Tool(name="ls", description="List", parameters={"type": "object"})
    system = Message(role="system", content="Be brief")
    asked = input_count_of(
        call_of("gemini-2.5-pro", system, seen, tools=(tool,)), vendors()["google"].config
    )
    assert asked is not None
    assert asked.request.path == "/v1beta/models/gemini-2.5-pro:countTokens"
    counted = orjson.loads(asked.request.body)["generateContentRequest"]
    assert counted["model"] == "models/gemini-2.5-pro"
    assert counted["systemInstruction"] == {"parts": [{"text": "Be brief"}]}
    [part] = counted["contents"][0]["parts"]
    assert part["inline_data"] == {"data": picture, "mime_type": "image/png"}
    [declared] = counted["tools"][0]["function_declarations"]
    assert (declared["name"], declared["parameters_json_schema"]) == ("ls", {"type": "object"})
    assert asked.request.whole(b'{"totalTokens": 12}').usage == Usage(input_uncached=12)


@pytest.mark.parametrize("answer", [b"{}", b'{"input_tokens": -1}', b'{"input_tokens": "9"}'])
def test_unusable_answer_has_no_usage(answer: bytes) -> None:
    assert asking_for().request.whole(answer).usage is None
