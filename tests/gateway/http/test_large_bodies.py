"""Large bodies: counted before they are built, parsed in turns, and the same as small ones."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
from functools import partial
from typing import Any

import orjson
import pytest

from gateway.core import strict_json
from gateway.core.calls import Dimensions, Principal
from gateway.core.errors import Refused
from gateway.core.request_body import call_from
from gateway.core.strict_json import VALUES_MAX
from gateway.http.bodies import INLINE_MAX_BYTES, INLINE_MAX_VALUES, WAITING_MAX, parse_in_turn
from gateway.models import AiRequestLog
from orgs.fields import new_id
from orgs.threads import BODIES
from tests.gateway.conftest import Asking

CHAT = "/v1/chat/completions"
PATHS = ("/api/ai/request", "/api/ai/quote", CHAT, "/v1/responses", "/v1/messages")
TOO_MANY = f"The body must have at most {VALUES_MAX} JSON values"


def anyone() -> Principal:
    return Principal(org_id=new_id(), fixed=Dimensions(), channel="api")


def saying(prompt: str, **more: Any) -> bytes:
    return orjson.dumps({"model": "sandbox-small", "prompt": prompt, **more})


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", PATHS)
def test_too_many_values_are_413_on_every_path(ask: Asking, path: str) -> None:
    reply = ask(b'{"x":[' + b"1," * VALUES_MAX + b"1]}", path=path)
    assert reply.status == 413
    assert TOO_MANY in str(reply.json)


@pytest.mark.django_db(transaction=True)
def test_large_request_is_recorded_like_small_one(ask: Asking) -> None:
    text = "word " * INLINE_MAX_BYTES
    messages = [{"role": "user", "content": text}]
    first = ask(saying(text, maxTokens=5))
    second = ask({"model": "sandbox-small", "messages": messages, "max_tokens": 5}, path=CHAT)
    assert (first.status, second.status) == (200, 200)
    one, other = AiRequestLog.objects.order_by("occurred_at")
    assert one.prompt_hash == other.prompt_hash
    assert one.decision["input"]["bytes"] == len(text)
    assert ask(saying(text) + b"}").refusal[:2] == (400, "invalid_request")


@pytest.mark.parametrize(
    ("body", "is_large"),
    [
        (saying("a"), False),
        (saying("a" * INLINE_MAX_BYTES), True),
        (saying("[" * (INLINE_MAX_VALUES + 1)), True),
    ],
)
async def test_bodies_are_parsed_in_thread_when_large(body: bytes, is_large: bool) -> None:
    principal, loop_thread, threads = anyone(), threading.get_ident(), list[int]()

    def parse() -> Any:
        threads.append(threading.get_ident())
        return call_from(body, principal=principal)

    call = await parse_in_turn(principal, body, parse)
    assert call.is_large == is_large
    assert (threads != [loop_thread]) == is_large


async def test_large_bodies_of_one_organization_do_not_pile_up() -> None:
    gate, flooding, other = threading.Event(), anyone(), anyone()
    body = saying("a" * INLINE_MAX_BYTES)

    def slow() -> Any:
        gate.wait(120)
        return call_from(body, principal=flooding)

    flood = [
        asyncio.create_task(parse_in_turn(flooding, body, slow)) for _ in range(WAITING_MAX + 1)
    ]
    await asyncio.sleep(0.05)
    with pytest.raises(Refused) as refusal:
        try:
            async with asyncio.timeout(120):
                await parse_in_turn(flooding, body, slow)
        except TimeoutError:
            gate.set()  # or the thread would wait in each of the others
            raise
    assert (refusal.value.status, refusal.value.code) == (429, "rate_limited")
    mine = asyncio.create_task(
        parse_in_turn(other, body, partial(call_from, body, principal=other))
    )
    await asyncio.sleep(0.05)
    gate.set()
    assert (await mine).is_large
    assert not all(task.done() for task in flood)  # it had its turn before most of them
    await asyncio.gather(*flood)
    await BODIES.run(None, lambda: None)


@pytest.mark.parametrize(
    "values",
    [
        [{"a": 1}] * 50_000,
        [[[]]] * 50_000,
        {f"{n}": n / 7 for n in range(50_000)},
        [f"{n:x}" for n in range(50_000)],
        ["text" * 50_000],
    ],
    ids=["objects", "lists", "names", "strings", "text"],
)
async def test_large_body_counts_as_memory_that_it_takes(values: object) -> None:
    body = orjson.dumps({"values": values})
    caller = anyone()
    parse = partial(call_from, saying("a"), principal=caller)
    call = await parse_in_turn(caller, body, parse)
    tracemalloc.start()
    kept = strict_json.loads(body)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept
    assert len(body) < taken <= call.body_bytes
