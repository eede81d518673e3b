"""A minimal browser: cookies, the CSRF token, no redirects."""

from __future__ import annotations

import json
import re
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
    """Keeps its cookies; sends the CSRF token with everything that is not a GET.

    A form is sent as one of the organization whose page was shown last.
    """

    def __init__(self, url: str, *, cookies: Mapping[str, str] | None = None) -> None:
        self.url = url
        jar = aiohttp.CookieJar(unsafe=True)  # it would refuse cookies of a host that is an address
        jar.update_cookies(cookies or {}, URL(url))
        self._organization = ""
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
        if fields is not None and path != "/login":
            if not self._organization:
                await self.send("GET", "/settings/organization")
            fields = {"form_organization": self._organization} | fields
        data = json.dumps(body) if body is not None else fields
        async with self._session.request(
            method, f"{self.url}{path}", data=data, headers=sent, allow_redirects=False
        ) as answer:
            text = await answer.text(errors="replace")
            if found := re.search(r'name="form_organization" value="([^"]+)"', text):
                self._organization = found[1]
            return Page(
                status=answer.status,
                body=text,
                headers={name.lower(): value for name, value in answer.headers.items()},
            )
