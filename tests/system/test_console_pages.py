"""Automated checks of every page: accessibility, console errors, width, size."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Self
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from django.template.loader import render_to_string
from playwright.async_api import CDPSession, Page, Route, expect

from tests.chromium import IN_ONE_BROWSER
from tests.showcase import SESSIONS
from tests.system.console import AUDITOR, DESK, MEMBER, OPERATOR, PHONE, Console, sign_in
from tests.system.rows import Rows

pytestmark = IN_ONE_BROWSER

FIRST_VISIT_MAX_BYTES: Final = 120 * 1024
# Until a page has lost the focus to the browser again.
TABS_MAX: Final = 400
TABS_AT_ONCE: Final = 20
TAB: Final = {"type": "rawKeyDown", "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
WIDTHS: Final = (2560, 768, 360)
# Each template in each of its states, by the part of the console.
PAGES: Final = {
    "requests": (
        "/admin/ai",
        "/admin/ai?status=blocked&teamId=support",
        "/admin/ai?model=nothing-like-it",
        "/admin/ai?keyId=wrong",
        "/admin/ai/requests/{ok}",
        "/admin/ai/requests/{blocked}",
        "/admin/ai/requests/{unknown}",
        "/admin/ai/requests/{error}",
        *(f"/admin/ai/session?{urlencode({'id': session_id})}" for session_id in SESSIONS),
    ),
    "keys and settings": (
        "/admin/ai/keys",
        "/admin/ai/keys/create",
        "/admin/ai/keys/{key}/rotate",
        "/admin/ai/keys/{key}/revoke",
        "/settings/organization",
        "/settings/organization/members/{member}/remove",
        "/settings/profile",
        "/status",
        "/nothing/here",
    ),
    "policies and aliases": (
        "/admin/ai/policies",
        "/admin/ai/policies/create",
        "/admin/ai/policies/{policy}",
        "/admin/ai/policies/{named}",
        "/admin/ai/policies/{policy}/delete",
        "/admin/ai/aliases",
        "/admin/ai/aliases/create",
        "/admin/ai/aliases/{alias}",
        "/admin/ai/aliases/{alias}/delete",
        "/admin/ai/providers",
        "/admin/ai/providers/create",
        "/admin/ai/providers/{provider}",
        "/admin/ai/providers/{provider}/secret",
        "/admin/ai/providers/{provider}/delete",
        "/admin/ai/playground",
    ),
    "models": (
        "/models",
        "/models?q=long&sort=cost",
        "/models?q=nothing-like-it",
        "/models/unpriced",
        "/models/openai/gpt-4o",
        "/models/openai/gpt-9-unknown",
    ),
    "costs": (
        "/costs",
        "/costs?groupBy=team",
        "/costs?groupBy=day&thenBy=team",
        "/costs?groupBy=session&thenBy=agent",
        "/costs?groupBy=user&thenBy=model&teamId=support&without=clientId",
        "/costs?period=today",
        "/costs?period=month&compare=nothing",
        "/costs?period=365d&compare=year",
        "/costs?from=2026-01-01&to=2026-01-01",
        "/costs?from=2026-03-02&to=2026-03-01",
        "/costs?teamId=unknown",
    ),
    "budgets and alerts": (
        "/costs/budgets",
        "/costs/budgets/create",
        "/costs/budgets/{budget}",
        "/costs/budgets/{over}",
        "/costs/budgets/{each}?value=unknown",
        "/costs/budgets/{budget}/delete",
        "/costs/alerts",
        "/costs/alerts?state=acknowledged",
        "/costs/alerts?alertId=wrong",
        "/costs/alerts/channels",
        "/costs/alerts/channels/create",
        "/costs/alerts/channels/{channel}/secret",
        "/costs/alerts/channels/{channel}/delete",
    ),
}
# Pages that come up when nothing else does; their templates are written to stand alone.
LAST_RESORTS: Final = ("400.html", "403_csrf.html", "500.html")
TABLES: Final = {
    "key": "api_key",
    "policy": "policy",
    "member": "membership",
    "alias": "model_alias",
    "provider": "provider",
}
# Pages that show less to those who may do less: to a member what an auditor does not see.
PAGES_BY_ROLE: Final = {
    AUDITOR: (
        "/admin/ai",
        "/admin/ai/keys",
        "/admin/ai/keys/create",
        "/admin/ai/policies",
        "/admin/ai/aliases",
        "/admin/ai/providers",
        "/admin/ai/playground",
        "/costs/budgets",
        "/costs/budgets/{budget}",
        "/costs",
        "/costs/alerts",
        "/costs/alerts/channels",
        "/settings/organization",
    ),
    MEMBER: ("/admin/ai", "/admin/ai/keys", "/admin/ai/playground"),
    OPERATOR: (
        "/status",
        "/models/unpriced",
        "/models/openai/gpt-4o",
        "/models/set?provider=openai&name=gpt-4o",
        "/models/set?provider=openai&name=gpt-9-unknown",
        "/models/factor?provider=openai&name=gpt-4o",
        "/models/hourly?provider=openai&name=gpt-4o",
    ),
}
EMPTY_PAGES: Final = (
    "/models",
    "/models/unpriced",
    "/admin/ai",
    "/admin/ai/keys",
    "/admin/ai/policies",
    "/admin/ai/policies/create",
    "/admin/ai/aliases",
    "/admin/ai/providers",
    "/admin/ai/playground",
    "/costs",
    "/costs/budgets",
    "/costs/budgets/create",
    "/settings/organization",
    "/costs/alerts",
    "/costs/alerts/channels",
    "/costs/alerts/channels/create",
)
# axe takes most of its time for contrast, node by node: of rows of one shape it looks at the first.
VIOLATIONS: Final = """() => {
  const lists = [...document.querySelectorAll("tbody, ul, ol")];
  const shapes = new Set();
  const alike = [...document.querySelectorAll("tbody > tr, li")].filter((row) => {
    const parts = [row, ...row.querySelectorAll("*")].map((part) =>
      [part.tagName, ...part.attributes].map((each) =>
        each.name === "class" ? each.value : each.name ?? each));
    const shape = JSON.stringify([lists.indexOf(row.parentElement), parts]);
    return shapes.size === shapes.add(shape).size;
  });
  return axe.run({exclude: alike}, {resultTypes: ["violations"]}).then((found) =>
    found.violations.flatMap((violation) =>
      violation.nodes.map((node) => `${violation.id}: ${node.html.slice(0, 160)}`)));
}"""
IS_WIDER: Final = "document.documentElement.scrollWidth > innerWidth"
# What htmx has asked for and not yet placed.
UNFINISHED: Final = ".htmx-request, .htmx-swapping, .htmx-settling"
# What Tab goes to: everything that works, and of a group of radio buttons one.
TABBABLE: Final = """() => [...document.querySelectorAll(
  "a[href], button, input, select, textarea, summary, [tabindex]")].filter((each) =>
    each.tabIndex >= 0 && !each.disabled && each.type !== "hidden" && each.checkVisibility()
    && !(each.type === "radio" && !each.checked)).length"""
HAS_FOCUS: Final = "document.activeElement !== document.body"
# Places in the document, in the order in which they get the focus.
REMEMBER_FOCUS: Final = """() => {
  const all = [...document.querySelectorAll("*")];
  window.focused = [];
  document.addEventListener("focusin", (event) => window.focused.push(all.indexOf(event.target)));
}"""


@pytest.fixture
def ids(console: Console) -> dict[str, str]:
    """The ids of rows of Acme's that pages are about."""
    rows = Rows(console.installation.database_url)
    acme = rows.value("SELECT id FROM organization WHERE slug = 'acme'")
    ids: dict[str, str] = {
        status: rows.value(
            "SELECT id FROM ai_request_log WHERE org_id = %s AND status = %s ORDER BY id LIMIT 1",
            *(acme, status),
        )
        for status in ("ok", "blocked", "unknown", "error")
    }
    ids |= {
        name: rows.value(
            f"SELECT id FROM {table} WHERE org_id = %s ORDER BY id LIMIT 1",  # noqa: S608
            acme,
        )
        for name, table in TABLES.items()
    }
    ids |= {
        name: rows.value(
            "SELECT id FROM budget WHERE org_id = %s AND is_hard = %s AND each = ''", acme, is_hard
        )
        for name, is_hard in (("budget", True), ("over", False))
    }
    ids["named"] = rows.value("SELECT id FROM policy WHERE org_id = %s AND mode = 'watch'", acme)
    ids["each"] = rows.value("SELECT id FROM budget WHERE org_id = %s AND each <> ''", acme)
    ids["channel"] = rows.value(
        "SELECT id FROM alert_channel WHERE org_id = %s AND kind = 'webhook'", acme
    )
    return ids


@dataclass(kw_only=True)  # without slots: Playwright marks the methods it calls
class Looks:
    """A page that is looked at, and the bytes that came for it."""

    page: Page
    wire: CDPSession
    sizes: list[float] = field(default_factory=list)

    @classmethod
    async def at(cls, page: Page) -> Self:
        """Prepare a page for looks: axe in it, and nothing that moves while it is looked at."""
        await page.add_init_script(Axe().axe_script)
        await page.emulate_media(reduced_motion="reduce")
        looks = cls(page=page, wire=await page.context.new_cdp_session(page))
        looks.wire.on("Network.loadingFinished", looks._loaded)
        await looks.wire.send("Network.enable")
        return looks

    def _loaded(self, event: dict[str, Any]) -> None:
        self.sizes.append(event["encodedDataLength"])

    async def first_visit(self, path: str, *, in_short: bool = False) -> list[str]:
        """Return every fault of a page: at the desk, by keyboard, narrowed, and in its bytes.

        In short, without the keyboard and the other colours.
        """
        self.sizes.clear()
        await self.wire.send("Network.clearBrowserCache")
        faults = await self.visit(path)
        if in_short:
            faults += await self._too_wide()
        else:
            faults += [*await self._tab_faults(), *await self.on_a_phone()]
        await self.page.set_viewport_size(DESK)
        await self.page.emulate_media(color_scheme="light")
        if not 0 < sum(self.sizes) <= FIRST_VISIT_MAX_BYTES:
            faults.append(f"it has {sum(self.sizes)} bytes")
        return faults

    async def visit(self, path: str) -> list[str]:
        """Return what is wrong at one look."""
        await self.page.goto(path)
        await expect(self.page.locator(UNFINISHED)).to_have_count(0)
        return await self.faults()

    async def faults(self) -> list[str]:
        """Return axe's violations, and whether the page is wider than the window."""
        faults: list[str] = await self.page.evaluate(VIOLATIONS)
        if await self.page.evaluate(IS_WIDER):
            faults.append("it scrolls sideways")
        return faults

    async def on_a_phone(self) -> list[str]:
        """Return what is wrong in the other colours, and at any width on the way to a phone's.

        Both colours and both widths: what is wrong in one pair only, both of its halves show.
        """
        wide = await self._too_wide()
        await self.page.emulate_media(color_scheme="dark")
        return [*wide, *await self.faults()]

    async def _too_wide(self) -> list[str]:
        wide = []
        for width in WIDTHS:
            await self.page.set_viewport_size({"width": width, "height": PHONE["height"]})
            if await self.page.evaluate(IS_WIDER):
                wide.append(f"it scrolls sideways at {width}")
        return wide

    async def _tab_faults(self) -> list[str]:
        """Return whether Tab misses something, or goes another way than the page does."""
        if await self.page.evaluate(HAS_FOCUS):  # a question begins at its harmless answer
            return []
        expected: int = await self.page.evaluate(TABBABLE)
        places = await self._places_of_tab()
        await self.page.evaluate("document.activeElement.blur()")
        if places == sorted(places) and len(places) >= expected:
            return []
        return [f"Tab goes to {places}, and {expected} are to be reached"]

    async def _places_of_tab(self) -> list[int]:
        """Return where Tab goes, as places in the document, until it leaves or begins again."""
        await self.page.evaluate(REMEMBER_FOCUS)
        for _ in range(TABS_MAX // TABS_AT_ONCE):
            presses = (self.wire.send("Input.dispatchKeyEvent", TAB) for _ in range(TABS_AT_ONCE))
            await asyncio.gather(*presses)
            places: list[int] = await self.page.evaluate("window.focused")
            if places[:1] and places[0] in places[1:]:
                return places[: places.index(places[0], 1)]
            if not await self.page.evaluate(HAS_FOCUS):
                return places
        raise AssertionError("Tab does not come to an end")


@pytest_asyncio.fixture(loop_scope="session")
async def looks(console: Console) -> AsyncIterator[Looks]:
    """The admin's page, to be looked at."""
    async with console.page() as page:
        yield await Looks.at(page)


def with_faults(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the pages that have faults."""
    return {path: faults for path, faults in found.items() if faults}


# --- the pages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PAGES)
async def test_no_page_has_fault(
    looks: Looks, ids: dict[str, str], part: str, pytestconfig: pytest.Config
) -> None:
    found, seen = {}, set()
    for path in PAGES[part]:
        page = re.sub(r"{\w+}|\?.*", "", path)
        # What most states of a page share, its first one shows.
        in_short = page in seen and not pytestconfig.getoption("--long")
        found[path] = await looks.first_visit(path.format(**ids), in_short=in_short)
        seen.add(page)
    assert with_faults(found) == {}


@pytest.mark.parametrize("who", PAGES_BY_ROLE, ids=["auditor", "member", "operator"])
async def test_members_and_auditors_see_pages_without_fault(
    console: Console, ids: dict[str, str], who: str
) -> None:
    async with console.page(who) as page:
        looks = await Looks.at(page)
        paths = [path.format(**ids) for path in PAGES_BY_ROLE[who]]
        assert with_faults({path: await looks.visit(path) for path in paths}) == {}
        if who == OPERATOR:  # whose page is the widest
            assert await looks.first_visit(paths[0]) == []


async def test_pages_of_empty_organization_have_no_fault(console: Console) -> None:
    # The session remembers the organization, so no other test uses it.
    async with console.page(None) as page:
        looks = await Looks.at(page)
        await sign_in(page)
        await page.set_viewport_size(PHONE)
        await page.emulate_media(color_scheme="dark")
        await page.locator("details.menu summary").click()
        assert await looks.faults() == []
        await page.get_by_role("button", name="Empty Ltd").click()
        await page.wait_for_load_state()
        assert await page.locator("details.menu summary strong").inner_text() == "Empty Ltd"
        assert with_faults({path: await looks.visit(path) for path in EMPTY_PAGES}) == {}


async def test_dialogs_and_streamed_answer_have_no_fault(looks: Looks) -> None:
    page = looks.page
    await page.goto("/admin/ai/keys")
    await page.get_by_role("button", name="Rotate", exact=True).first.click()
    await page.locator("dialog[open]").wait_for()
    assert await looks.faults() == []
    await page.goto("/admin/ai/playground")
    await page.get_by_label("Prompt", exact=True).fill("Say hello")
    await page.get_by_role("button", name="Send", exact=True).click()
    await page.locator("#trace ol").wait_for()
    await page.locator("tr.is-new").wait_for()
    assert await looks.faults() == []


async def test_questions_and_what_is_shown_once_have_no_fault(
    console: Console, looks: Looks
) -> None:
    page = looks.page
    await page.set_viewport_size(PHONE)
    await page.emulate_media(color_scheme="dark")
    await page.goto("/settings/organization")
    await page.get_by_label("AI Gateway", exact=True).uncheck()
    await page.get_by_role("button", name="Save", exact=True).click()
    await page.get_by_role("heading", name="Turn the AI Gateway off").wait_for()
    assert await looks.faults() == []
    await page.goto("/settings/organization")
    await page.get_by_label("Email", exact=True).fill("not an address")
    await page.get_by_role("button", name="Add member").click()
    await page.locator(".errorlist").wait_for()
    assert await looks.faults() == []
    await page.get_by_label("Email", exact=True).fill("new@acme.example")
    await page.get_by_role("button", name="Add member").click()
    link = await page.locator("#member-link").inner_text()
    assert await looks.faults() == []
    await page.goto("/admin/ai/keys/create")
    await page.get_by_label("Key name", exact=True).fill("Shown once")
    await page.get_by_role("button", name="Create key").click()
    await page.locator("#new-key").wait_for()
    assert await looks.faults() == []
    async with console.page(None) as stranger:
        looks = await Looks.at(stranger)
        for path in ("/login", link, f"{console.url}/welcome/x/y/"):
            assert await looks.first_visit(path) == [], path
        await stranger.goto("/login")
        await stranger.get_by_label("Email", exact=True).fill("unknown@acme.example")
        await stranger.get_by_label("Password", exact=True).fill("wrong")
        await stranger.get_by_role("button", name="Sign in", exact=True).click()
        await stranger.locator(".errorlist").wait_for()
        assert await looks.faults() == []


async def test_effect_of_policy_and_error_pages_have_no_fault(looks: Looks) -> None:
    page = looks.page
    await page.goto("/admin/ai/policies/create")
    await page.get_by_label("Blocked models", exact=True).fill("gpt-4o-mini")
    await page.locator("#effect svg.chart").wait_for()
    assert [*await looks.faults(), *await looks.on_a_phone()] == []
    for name in LAST_RESORTS:
        await page.set_viewport_size(DESK)
        await page.emulate_media(color_scheme="light")
        await page.route("**/last-resort", partial(_answer, html=render_to_string(name)))
        assert [*await looks.visit("/last-resort"), *await looks.on_a_phone()] == [], name
        await page.unroute("**/last-resort")


async def _answer(route: Route, html: str) -> None:
    await route.fulfill(body=html, content_type="text/html")
