"""The console in a real browser: a server with weeks of data, people who are signed in."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    ViewportSize,
)

from tests.chromium import WAIT_MAX_MS
from tests.system import browser as http
from tests.system.servers import Installation

PASSWORD: Final = "correct horse battery staple"
ADMIN: Final = "ada@acme.example"
MEMBER: Final = "bo@acme.example"
AUDITOR: Final = "audit@acme.example"
OPERATOR: Final = "ops@acme.example"
DESK: Final = ViewportSize(width=1440, height=900)
PHONE: Final = ViewportSize(width=360, height=740)
# Run inside the installation, with Django set up: one process, as most of its time is the start.
FILL: Final = """
import io
import sys
from datetime import timedelta
from django.core.management import call_command
from orgs.keys.operations import create_key, revoke_key
from django.utils.timezone import now
from orgs.models import Membership, Organization, User
from orgs.settings.operations import create_organization
from tests import showcase
from tests.factories import AiRequestLogFactory, ProviderFactory
for email, role in PEOPLE:
    sys.stdin = io.StringIO(PASSWORD)
    call_command("members", "add", "acme", email, "--role", role, "--password-stdin")
call_command(
    *("aliases", "create", "acme", "fast", "--models", "gpt-4o-mini,gpt-4o", "--retries", "1")
)
call_command(
    *("providers", "add", "azure-eu", "--preset", "ollama", "--org", "acme", "--regions", "eu"),
    *("--title", "Azure OpenAI of the whole company, Europe", "--model", "gpt-4o=prod-4o"),
)
org = Organization.objects.get(slug="acme")
Organization.objects.filter(slug="acme").update(name="Acme")
from gateway.models import Provider
for name, secret in (("vllm-of-the-research-department", ""), ("azure-us", "env:NOT_SET_HERE")):
    Provider.objects.create(
        name=name,
        title=name.title(),
        base_url="https://models.example.org/v1",
        dialects=["chat"],
        auth="bearer" if secret else "none",
        secret=secret,
    )
people = [row.user for row in Membership.objects.filter(org=org).select_related("user")]
keys = [
    create_key(org=org, name="Ticket triage", team_id="support", app_id="ticket-triage")[0],
    create_key(org=org, name="Code review", owner=people[0], project_id="assistant")[0],
    create_key(org=org, name="Product texts", team_id="growth")[0],
]
revoke_key(key=create_key(org=org, name="Old importer")[0])
showcase.fill(org, keys=keys, users=[str(user.pk) for user in people], per_day=PER_DAY)
User.objects.filter(email=OPERATOR).update(is_staff=True, is_superuser=True)
ProviderFactory.create(
    org=org, name="azure-" + "long-" * 5, title="\u8cfc\u8cb7\u5354\u8b70 \u00dcberregional & Co.",
    models=["Organization/Model-with-a-name-of-sixty-characters-in-all-" + "x" * 60],
)
for number in range(100):
    AiRequestLogFactory.create(
        org=org, model=f"gpt-9-{number}", requested_model=f"gpt-9-{number}",
        provider="openai", status="blocked", code="model_unpriced",
        occurred_at=now() - timedelta(days=20),
    )
showcase.add_budgets(org)
showcase.add_alerts(org)
empty = create_organization(name="Empty Ltd", slug="empty", timezone="UTC")
for user in people:
    Membership.objects.create(org=empty, user=user, role="admin")
"""


@dataclass  # without slots: Playwright marks the methods it calls
class Complaints:
    """A browser's errors, and requests to other hosts."""

    origin: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def listen(self, page: Page) -> None:
        """Record all errors and requests of the page."""
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._asked)

    def _heard(self, message: ConsoleMessage) -> None:
        # A page or call that is refused on purpose is an error of the browser's own making.
        is_refusal = "status of 4" in message.text and "/static/" not in message.location["url"]
        if message.type in ("error", "warning") and not is_refusal:
            self.errors.append(message.text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.origin, "data:")):
            self.foreign.append(request.url)


def fill(installation: Installation, *, per_day: int = 40) -> None:
    """Create Acme's users, keys, an alias, policies and weeks of requests."""
    people = (
        *((ADMIN, "admin"), (MEMBER, "member"), (AUDITOR, "auditor")),
        (OPERATOR, "auditor"),
    )
    values = {"PEOPLE": people, "OPERATOR": OPERATOR, "PASSWORD": PASSWORD, "PER_DAY": per_day}
    installation.script("".join(f"{name} = {value!r}\n" for name, value in values.items()) + FILL)


@asynccontextmanager
async def context_for(browser: Browser, url: str, **options: Any) -> AsyncIterator[BrowserContext]:
    """A browser that knows the server's address; `options` are Playwright's."""
    context = await browser.new_context(base_url=url, **options)
    context.set_default_timeout(WAIT_MAX_MS)
    try:
        yield context
    finally:
        await context.close()


async def sign_in(page: Page, email: str = ADMIN) -> None:
    """Sign in as a person does."""
    await page.goto("/login")
    await page.get_by_label("Email", exact=True).fill(email)
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await page.wait_for_url(re.compile(r"/admin/ai$"))


@dataclass(kw_only=True)
class Console:
    """A console with data, and a window with scripts and one without, which all tests share.

    A window costs 2 s, a page in it 0.3 s. So each test has a page of its own, and only what a
    person keeps, the cookies, is set again.
    """

    browser: Browser
    installation: Installation
    url: str
    windows: dict[bool, BrowserContext] = field(default_factory=dict)
    sessions: dict[str, dict[str, str]] = field(default_factory=dict)

    @asynccontextmanager
    async def page(
        self, who: str | None = ADMIN, *, scripts: bool = True, complains: bool = False
    ) -> AsyncIterator[Page]:
        """A person's page, signed in unless it is None's; it must not complain meanwhile.

        A page of each window at a time: the one who comes next ends the session of the one before.
        """
        window = await self._window(scripts=scripts)
        await window.clear_cookies()
        if who is not None:
            session = await self._session_of(who)
            await window.add_cookies(
                [{"name": name, "value": value, "url": self.url} for name, value in session.items()]
            )
        page = await window.new_page()
        complaints = Complaints(self.url)
        complaints.listen(page)
        try:
            yield page
        finally:
            await page.close()
        assert complains or not complaints.errors, complaints.errors
        assert not complaints.foreign, complaints.foreign

    async def close(self) -> None:
        """Close the windows."""
        for window in self.windows.values():
            await window.close()

    async def _window(self, *, scripts: bool) -> BrowserContext:
        if scripts not in self.windows:
            self.windows[scripts] = window = await self.browser.new_context(
                base_url=self.url,
                java_script_enabled=scripts,
                permissions=["clipboard-read", "clipboard-write"],
                viewport=DESK,
            )
            window.set_default_timeout(WAIT_MAX_MS)
            await window.new_page()  # a window closes with its last page
        return self.windows[scripts]

    async def _session_of(self, who: str) -> dict[str, str]:
        """Return the cookies of a session, which all pages of this person share."""
        if who not in self.sessions:
            async with http.Browser(self.url) as person:
                await person.sign_in(who, PASSWORD)
                self.sessions[who] = person.cookies
        return self.sessions[who]
