"""Bodies of pages have limits of size, time and memory, on every path and for everyone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from django.conf import settings

from gateway.call.runtime import current
from gateway.core.body_budget import ADDRESS_MAX_BYTES, BODY_MAX_S, FREE_BYTES
from pulse.server import pages

ADDRESS = "192.0.2.7"
ANSWER_MAX_S = 120.0


class Upload:
    """A client that sends pieces of a body; it leaves with its answer."""

    def __init__(self, *pieces: bytes, is_whole: bool = True) -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "headers": [(b"transfer-encoding", b"chunked")],
            "client": (ADDRESS, 5000),
        }
        self.sent: list[Mapping[str, Any]] = []
        self.reached: list[bytes] = []
        self._left = len(pieces)
        self._pieces = iter(pieces)
        self._is_whole = is_whole

    async def receive(self) -> Mapping[str, Any]:
        """Return the next piece, or wait for an answer."""
        if self._left:
            self._left -= 1
            more = self._left > 0 or not self._is_whole
            return {"type": "http.request", "body": next(self._pieces), "more_body": more}
        while not self.sent and not self.reached:  # noqa: ASYNC110  as a socket would wait
            await asyncio.sleep(0.005)
        return {"type": "http.disconnect"}

    async def send(self, message: Mapping[str, Any]) -> None:
        """Keep what is sent."""
        self.sent.append(message)

    async def page(self, _scope: Any, receive: Any, _send: Any) -> None:
        """Read a body as Django does, and what comes after it."""
        message = await receive()
        assert not message["more_body"]
        self.reached.append(message["body"])
        assert (await receive())["type"] == "http.disconnect"

    def run(self, *, body_max_s: float = BODY_MAX_S) -> tuple[int, dict[bytes, bytes], bytes]:
        """Send everything and return the answer, which is 0 if the page was reached."""
        handling = pages.handle(
            self.page, self.scope, self.receive, self.send, body_max_s=body_max_s
        )
        asyncio.run(asyncio.wait_for(handling, ANSWER_MAX_S))
        if not self.sent:
            return 0, {}, b""
        start, *rest = self.sent
        assert not rest[-1].get("more_body")
        body = b"".join(message.get("body", b"") for message in rest)
        return start["status"], dict(start["headers"]), body


def test_page_gets_its_body_whole() -> None:
    upload = Upload(b"a=1", b"&b=2")
    assert upload.run()[0] == 0
    assert upload.reached == [b"a=1&b=2"]


def test_body_above_limit_is_413_and_no_page_is_reached() -> None:
    most = b"a" * pages.BODY_MAX_BYTES
    assert Upload(most).run()[0] == 0
    upload = Upload(most, b"a", is_whole=False)
    status, headers, body = upload.run()
    assert (status, headers[b"connection"]) == (413, b"close")
    assert body == b"The body must be at most 1 MiB.\n"
    assert upload.reached == []


def test_body_is_never_written_to_file() -> None:
    assert pages.BODY_MAX_BYTES < settings.FILE_UPLOAD_MAX_MEMORY_SIZE


def test_late_body_is_408() -> None:
    status, headers, body = Upload(b"a", is_whole=False).run(body_max_s=0.05)
    assert (status, headers[b"connection"]) == (408, b"close")
    assert body == b"The request body must arrive within 0.05 s.\n"


@pytest.mark.parametrize("is_small", [True, False])
def test_addresses_share_is_bounded_but_small_forms_pass(is_small: bool) -> None:
    budget, shares = current().bodies, {ADDRESS: ADDRESS_MAX_BYTES}
    assert budget.take(ADDRESS_MAX_BYTES, shares)
    try:
        size = FREE_BYTES if is_small else FREE_BYTES + 1
        upload = Upload(b"a" * size, is_whole=is_small)
        status, headers, _ = upload.run()
    finally:
        budget.give_back(ADDRESS_MAX_BYTES, shares)
    if is_small:
        assert len(upload.reached) == 1
    else:
        assert (status, headers[b"retry-after"], headers[b"connection"]) == (503, b"1", b"close")


def test_client_that_leaves_reaches_no_page() -> None:
    upload = Upload(is_whole=False)
    upload.sent.append({"type": "nothing"})  # so that it does not wait for an answer
    asyncio.run(pages.handle(upload.page, upload.scope, upload.receive, upload.send))
    assert (len(upload.sent), upload.reached) == (1, [])
