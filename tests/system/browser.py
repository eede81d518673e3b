"""A minimal browser: cookies, the CSRF token, no redirects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A server's response."""

    status: int
    body: str
    headers: dict[str, str]


class Browser:
    """Keeps its cookies; sends the CSRF token with everything that is not a GET."""

    def __init__(self, url: str, *, cookies: Mapping[str, str] | None = None) -> None:
        self.url = url
        jar = aiohttp.CookieJar(unsafe=True)  # it would refuse cookies of a host that is an address
        jar.update_cookies(cookies or {}, URL(url))
        self._session = aiohttp.ClientSession(cookie_jar=jar)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    @property
    def cookies(self) -> dict[str, str]:
        """Its cookies, by name."""
        kept = self._session.cookie_jar.filter_cookies(URL(self.url))
        return {name: morsel.value for name, morsel in kept.items()}

    def cookie(self, name: str) -> str:
        """Return the value of a cookie, empty when there is none."""
        return self.cookies.get(name, "")

    async def sign_in(self, email: str, password: str) -> None:
        """Sign in through the form."""
        await self.send("GET", "/login")
        page = await self.send("POST", "/login", fields={"email": email, "password": password})
        assert page.status == 302, page.body

    async def send(
        self,
        method: str,
        path: str,
        *,
        fields: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Page:
        """Send form fields, or a JSON body, or nothing; redirects are not followed."""
        sent = dict(headers or {})
        if method != "GET":
            sent["x-csrftoken"] = self.cookie("csrftoken")
        if body is not None:
            sent["content-type"] = "application/json"
        data = json.dumps(body) if body is not None else fields
        async with self._session.request(
            method, f"{self.url}{path}", data=data, headers=sent, allow_redirects=False
        ) as answer:
            return Page(
                status=answer.status,
                body=await answer.text(errors="replace"),
                headers={name.lower(): value for name, value in answer.headers.items()},
            )
