"""The console in a real browser: a server with a month of data, people who are signed in."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request

from tests.system.servers import Installation

PASSWORD: Final = "correct horse battery staple"
ADMIN: Final = "ada@acme.example"
MEMBER: Final = "bo@acme.example"
AUDITOR: Final = "audit@acme.example"
# Run inside the installation, with Django set up.
FILL: Final = """
from orgs.keys.operations import create_key, revoke_key
from orgs.models import Membership, Organization
from orgs.settings.operations import create_organization
from tests import showcase
org = Organization.objects.get(slug="acme")
Organization.objects.filter(slug="acme").update(name="Acme")
people = [row.user for row in Membership.objects.filter(org=org).select_related("user")]
keys = [
    create_key(org=org, name="Ticket triage", team_id="support", app_id="ticket-triage")[0],
    create_key(org=org, name="Code review", owner=people[0], project_id="assistant")[0],
    create_key(org=org, name="Product texts", team_id="growth")[0],
]
revoke_key(key=create_key(org=org, name="Old importer")[0])
showcase.fill(org, keys=keys, users=[str(user.pk) for user in people], per_day=PER_DAY)
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
        # A page that is refused on purpose is an error of the console's own making.
        if message.type in ("error", "warning") and "status of 40" not in message.text:
            self.errors.append(message.text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.origin, "data:")):
            self.foreign.append(request.url)


def fill(installation: Installation, *, per_day: int = 40) -> None:
    """Create Acme's users, keys, policies and a month of requests."""
    installation.members(
        ("acme", ADMIN, "admin"),
        ("acme", MEMBER, "member"),
        ("acme", AUDITOR, "auditor"),
        password=PASSWORD,
    )
    installation.script(FILL.replace("PER_DAY", str(per_day)))


@asynccontextmanager
async def context_for(browser: Browser, url: str, **options: Any) -> AsyncIterator[BrowserContext]:
    """A browser that knows the server's address; `options` are Playwright's."""
    context = await browser.new_context(base_url=url, **options)
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
