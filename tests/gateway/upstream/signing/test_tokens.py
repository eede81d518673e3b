"""Access tokens: one request for all that wait, renewed in time, bounded answers."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gateway.upstream.http_client import HttpClient, NotSent, is_not_sent
from gateway.upstream.signing.tokens import (
    ANSWER_MAX_BYTES,
    LIFE_MAX_S,
    AccessToken,
    TokenCache,
    requested,
)
from tests.fake_provider import closed_port
from tests.gateway.upstream.raw_server import WAIT_MAX_S
from tests.gateway.upstream.signing.token_server import TokenServer, set_clock

NOW = 1_800_000_000.0


def cache_of(server: TokenServer) -> TokenCache:
    """Return a cache whose tokens come from the server."""

    async def fetch(http: HttpClient) -> AccessToken:
        return await requested(http, f"{server.origin}/token", form={"a": "b"}, now=cache.clock())

    cache = TokenCache(fetch)
    set_clock(cache, NOW)
    return cache


async def test_one_request_serves_all_that_wait(client: HttpClient, tokens: TokenServer) -> None:
    cache = cache_of(tokens)
    assert set(await asyncio.gather(*(cache.get(client) for _ in range(20)))) == {"token-1"}
    assert tokens.received == [("/token", {"a": "b"})]


async def test_token_is_kept_until_shortly_before_it_expires(
    client: HttpClient, tokens: TokenServer
) -> None:
    cache = cache_of(tokens)
    assert await cache.get(client) == "token-1"
    clock = set_clock(cache, NOW + 3600 - 226)
    assert await cache.get(client) == "token-1"
    assert len(tokens.received) == 1
    clock.now += 2
    assert await cache.get(client) == "token-1"  # while the next one is fetched
    clock.now = NOW + 3600
    assert await cache.get(client) == "token-2"
    assert len(tokens.received) == 2


async def test_expired_token_is_not_used(client: HttpClient, tokens: TokenServer) -> None:
    cache = cache_of(tokens)
    await cache.get(client)
    set_clock(cache, NOW + 3600 - 14)
    assert await cache.get(client) == "token-2"
    assert cache.hidden() == ("token-2", "token-1")


async def test_failure_while_old_token_counts_fails_no_call(
    client: HttpClient, tokens: TokenServer, caplog: pytest.LogCaptureFixture
) -> None:
    cache = cache_of(tokens)
    await cache.get(client)
    clock = set_clock(cache, NOW + 3600 - 100)
    tokens.answers = [(503, "")]
    assert await cache.get(client) == "token-1"
    clock.now = NOW + 3600
    with pytest.raises(NotSent):
        await cache.get(client)
    assert "no access token: the token server answered with status 503" in caplog.text
    assert await cache.get(client) == "token-3"


async def test_failure_is_not_kept(client: HttpClient, tokens: TokenServer) -> None:
    cache = cache_of(tokens)
    tokens.answers = [(503, "")]
    with pytest.raises(NotSent):
        await cache.get(client)
    assert await cache.get(client) == "token-2"


async def test_cancelled_caller_fails_no_other_and_sent_nothing(
    client: HttpClient, tokens: TokenServer
) -> None:
    cache = cache_of(tokens)
    tokens.may_answer.clear()
    one, other = (asyncio.create_task(cache.get(client)) for _ in range(2))
    await tokens.asked.wait()
    one.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await one
    assert is_not_sent(caught.value)
    tokens.may_answer.set()
    assert await other == "token-1"


async def test_each_event_loop_fetches_by_itself(client: HttpClient, tokens: TokenServer) -> None:
    cache = cache_of(tokens)
    tokens.may_answer.clear()
    here = asyncio.create_task(cache.get(client))
    await tokens.asked.wait()
    tokens.asked.clear()
    found: list[str] = []

    async def elsewhere() -> None:
        http = HttpClient()
        found.append(await cache.get(http))
        await http.aclose()

    thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    thread.start()
    async with asyncio.timeout(WAIT_MAX_S):
        await tokens.asked.wait()
    tokens.may_answer.set()
    assert (await here).startswith("token-")
    await asyncio.to_thread(thread.join)
    assert found[0].startswith("token-")


@pytest.mark.parametrize(
    ("status", "body", "obstacle"),
    [
        (401, {"error": "invalid_client", "error_description": "x"}, "status 401 (invalid_client)"),
        (400, {"error": "sk-secret of a stranger"}, "status 400"),
        (400, "no JSON", "status 400"),
        (302, "", "status 302"),
        (200, "no JSON", "no usable token"),
        (200, "[" * 10_000, "no usable token"),
        (200, {"access_token": ""}, "no usable token"),
        (200, {"access_token": 1}, "no usable token"),
        (200, {"access_token": "a\r\nb: c"}, "no usable token"),
        (200, {"access_token": "ä"}, "no usable token"),
        (200, {"access_token": "a" * 8193}, "no usable token"),
        (200, "x" * (ANSWER_MAX_BYTES + 1), "above the size limit"),
    ],
)
async def test_bad_answer_of_token_server_sends_nothing(
    client: HttpClient, tokens: TokenServer, status: int, body: object, obstacle: str
) -> None:
    tokens.answers = [(status, body)]
    with pytest.raises(NotSent) as caught:
        await cache_of(tokens).get(client)
    assert caught.value.obstacle.endswith(obstacle)


async def test_unreachable_token_server_sends_nothing(client: HttpClient) -> None:
    server = TokenServer(f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(NotSent) as caught:
        await cache_of(server).get(client)
    assert caught.value.obstacle == (
        "the token server could not be reached: the connection was refused"
    )


async def test_invalid_address_of_token_server_sends_nothing(client: HttpClient) -> None:
    with pytest.raises(NotSent) as caught:
        await cache_of(TokenServer("ftp://")).get(client)
    assert caught.value.obstacle.endswith("its address is not valid")


@pytest.mark.parametrize(
    ("expires_in", "life_s"),
    [
        (60, 60),
        ("3599", 3599),
        (10**9, LIFE_MAX_S),
        (10**400, 300),
        (None, 300),
        (0, 300),
        (-1, 300),
        ("soon", 300),
        ("nan", 300),
        ([], 300),
    ],
)
async def test_life_of_token_is_bounded(
    client: HttpClient, tokens: TokenServer, expires_in: object, life_s: float
) -> None:
    tokens.answers = [(200, {"access_token": "t", "expires_in": expires_in})]
    token = await requested(client, f"{tokens.origin}/token", form={}, now=NOW)
    assert token.expires_at - NOW == life_s
