"""Automated checks of every page: accessibility, console errors, width, size."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import pytest
from axe_playwright_python.async_playwright import Axe
from django.template.loader import render_to_string
from playwright.async_api import Browser, Page, Route

from tests.chromium import IN_ONE_BROWSER
from tests.system.console import AUDITOR, MEMBER, Complaints, context_for, fill, sign_in
from tests.system.rows import Rows
from tests.system.servers import Installation, Server

pytestmark = IN_ONE_BROWSER

FIRST_VISIT_MAX_BYTES: Final = 120 * 1024
TABS_MAX: Final = 400
PHONE: Final = {"width": 360, "height": 740}
DESK: Final = {"width": 1440, "height": 900}
WIDTHS: Final = (2560, 768, 360)
PAGES: Final = (
    "/admin/ai",
    "/admin/ai?status=blocked&teamId=support",
    "/admin/ai?model=nothing-like-it",
    "/admin/ai?keyId=wrong",
    "/admin/ai/requests/{ok}",
    "/admin/ai/requests/{blocked}",
    "/admin/ai/requests/{unknown}",
    "/admin/ai/requests/{error}",
    "/admin/ai/keys",
    "/admin/ai/keys/create",
    "/admin/ai/keys/{key}/rotate",
    "/admin/ai/keys/{key}/revoke",
    "/admin/ai/policies",
    "/admin/ai/policies/create",
    "/admin/ai/policies/{policy}",
    "/admin/ai/policies/{policy}/delete",
    "/admin/ai/aliases",
    "/admin/ai/aliases/create",
    "/admin/ai/aliases/{alias}",
    "/admin/ai/aliases/{alias}/delete",
    "/admin/ai/playground",
    "/costs",
    "/costs/budgets",
    "/costs/budgets/create",
    "/costs/budgets/{budget}",
    "/costs/budgets/{over}",
    "/costs/budgets/{budget}/delete",
    "/costs?groupBy=day&thenBy=team",
    "/costs?from=2026-03-02&to=2026-03-01",
    "/costs/alerts",
    "/costs/alerts?state=acknowledged",
    "/costs/alerts?alertId=wrong",
    "/costs/alerts/channels",
    "/costs/alerts/channels/create",
    "/costs/alerts/channels/{channel}/secret",
    "/costs/alerts/channels/{channel}/delete",
    "/settings/organization",
    "/settings/organization/members/{member}/remove",
    "/nothing/here",
)
# The explorer in all its states; the addresses of the pages have two of them.
COSTS: Final = (
    *(f"/costs?groupBy={name}" for name in ("provider", "team", "project", "app", "client")),
    *(f"/costs?groupBy={name}" for name in ("user", "task", "key", "day")),
    "/costs?groupBy=user&thenBy=model&teamId=support&without=clientId",
    "/costs?period=today",
    "/costs?period=month&compare=nothing",
    "/costs?period=365d&compare=year",
    "/costs?from=2026-01-01&to=2026-01-01",
    "/costs?teamId=unknown",
)
# Pages that come up when nothing else does; their templates are written to stand alone.
LAST_RESORTS: Final = ("400.html", "403_csrf.html", "500.html")
TABLES: Final = {
    "key": "api_key",
    "policy": "policy",
    "member": "membership",
    "alias": "model_alias",
}
IS_WIDER: Final = "document.documentElement.scrollWidth > innerWidth"
# Pages that show less to those who may do less.
PAGES_BY_ROLE: Final = (
    "/admin/ai",
    "/admin/ai/keys",
    "/admin/ai/keys/create",
    "/admin/ai/policies",
    "/admin/ai/aliases",
    "/admin/ai/playground",
    "/costs/budgets",
    "/costs/budgets/{budget}",
    "/costs",
    "/costs/alerts",
    "/costs/alerts/channels",
    "/settings/organization",
)
EMPTY_PAGES: Final = (
    "/admin/ai",
    "/admin/ai/keys",
    "/admin/ai/policies",
    "/admin/ai/policies/create",
    "/admin/ai/aliases",
    "/admin/ai/playground",
    "/costs",
    "/costs/budgets",
    "/costs/budgets/create",
    "/settings/organization",
    "/costs/alerts",
    "/costs/alerts/channels",
    "/costs/alerts/channels/create",
)
# What Tab goes to: everything that works, and of a group of radio buttons one.
TABBABLE: Final = """() => [...document.querySelectorAll(
  "a[href], button, input, select, textarea, summary, [tabindex]")].filter((each) =>
    each.tabIndex >= 0 && !each.disabled && each.type !== "hidden" && each.checkVisibility()
    && !(each.type === "radio" && !each.checked)).length"""
PLACE: Final = """() => document.activeElement === document.body ? -1
  : [...document.querySelectorAll("*")].indexOf(document.activeElement)"""


@pytest.fixture(scope="module")
def filled(installation: Installation) -> Iterator[Server]:
    """A server with weeks of data."""
    fill(installation, per_day=16)
    installation.run(
        *("aliases", "create", "acme", "fast", "--models", "gpt-4o-mini,gpt-4o", "--retries", "1")
    )
    [server] = installation.serve()
    yield server


@pytest.fixture
def ids(filled: Server, rows: Rows) -> dict[str, str]:
    """The ids of rows of Acme's that pages are about."""
    acme = rows.value("SELECT id FROM organization WHERE slug = 'acme'")
    ids: dict[str, str] = {
        status: rows.value(
            "SELECT id FROM ai_request_log WHERE org_id = %s AND status = %s LIMIT 1", acme, status
        )
        for status in ("ok", "blocked", "unknown", "error")
    }
    ids |= {
        name: rows.value(f"SELECT id FROM {table} WHERE org_id = %s LIMIT 1", acme)  # noqa: S608
        for name, table in TABLES.items()
    }
    ids |= {
        name: rows.value("SELECT id FROM budget WHERE org_id = %s AND is_hard = %s", acme, is_hard)
        for name, is_hard in (("budget", True), ("over", False))
    }
    ids["channel"] = rows.value(
        "SELECT id FROM alert_channel WHERE org_id = %s AND kind = 'webhook'", acme
    )
    return ids


@pytest.fixture
def paths(ids: dict[str, str]) -> list[str]:
    """Every page of Acme's, with the ids of real rows."""
    return [path.format(**ids) for path in PAGES]


async def faults_of(page: Page) -> list[str]:
    """Return axe's violations, and whether the page is wider than the window."""
    found: dict[str, Any] = (await Axe().run(page)).response
    faults = [
        f"{violation['id']}: {node['html'][:160]}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
    if await page.evaluate(IS_WIDER):
        faults.append("it scrolls sideways")
    return faults


async def examine(page: Page, paths: tuple[str, ...] | list[str]) -> dict[str, list[str]]:
    """Return the faults of each page that has some."""
    found = {}
    for path in paths:
        await page.goto(path)
        if faults := await faults_of(page):
            found[path] = faults
    return found


# Both colours and both widths; what is wrong in one pair only, both of its halves would show.
@pytest.mark.parametrize(
    ("scheme", "window"), [("light", DESK), ("dark", PHONE)], ids=["light 1440", "dark 360"]
)
async def test_no_page_has_accessibility_fault(
    chromium: Browser, filled: Server, paths: list[str], scheme: str, window: dict[str, int]
) -> None:
    complaints = Complaints(filled.url)
    async with context_for(chromium, filled.url, color_scheme=scheme, viewport=window) as context:
        page = await context.new_page()
        complaints.listen(page)
        assert await examine(page, ["/login"]) == {}
        await sign_in(page)
        assert await examine(page, [*paths, *COSTS]) == {}
    assert complaints.errors == []
    assert complaints.foreign == []


async def test_empty_organization_has_valid_pages(chromium: Browser, filled: Server) -> None:
    async with context_for(chromium, filled.url, color_scheme="dark", viewport=PHONE) as context:
        page = await context.new_page()
        await sign_in(page)
        await page.locator("details.menu summary").click()
        assert await faults_of(page) == []
        await page.get_by_role("button", name="Empty Ltd").click()
        await page.wait_for_load_state()
        assert await page.locator("details.menu summary strong").inner_text() == "Empty Ltd"
        assert await examine(page, EMPTY_PAGES) == {}


@pytest.mark.parametrize("email", [MEMBER, AUDITOR])
async def test_members_and_auditors_see_pages_without_fault(
    chromium: Browser, filled: Server, ids: dict[str, str], email: str
) -> None:
    async with context_for(chromium, filled.url, viewport=DESK) as context:
        page = await context.new_page()
        await sign_in(page, email)
        assert await examine(page, [path.format(**ids) for path in PAGES_BY_ROLE]) == {}


async def test_no_page_scrolls_sideways(
    chromium: Browser, filled: Server, paths: list[str]
) -> None:
    async with context_for(chromium, filled.url) as context:
        page = await context.new_page()
        await sign_in(page)
        wide = []
        for path in paths:
            await page.goto(path)
            for width in WIDTHS:
                await page.set_viewport_size({"width": width, "height": 900})
                if await page.evaluate(IS_WIDER):
                    wide.append((path, width))
        assert wide == []


async def test_dialogs_and_streamed_answer_have_no_fault(chromium: Browser, filled: Server) -> None:
    async with context_for(chromium, filled.url, viewport=DESK) as context:
        page = await context.new_page()
        await sign_in(page)
        await page.goto("/admin/ai/keys")
        await page.get_by_role("button", name="Rotate", exact=True).first.click()
        await page.locator("dialog[open]").wait_for()
        assert await faults_of(page) == []
        await page.goto("/admin/ai/playground")
        await page.get_by_label("Prompt", exact=True).fill("Say hello")
        await page.get_by_role("button", name="Send", exact=True).click()
        await page.locator("#trace ol").wait_for()
        await page.locator("tr.is-new").wait_for()
        assert await faults_of(page) == []


async def test_confirmations_and_one_time_pages_have_no_fault(
    chromium: Browser, filled: Server
) -> None:
    async with context_for(chromium, filled.url, color_scheme="dark", viewport=PHONE) as context:
        page = await context.new_page()
        await sign_in(page)
        await page.goto("/settings/organization")
        await page.get_by_label("AI Gateway", exact=True).uncheck()
        await page.get_by_role("button", name="Save", exact=True).click()
        await page.get_by_role("heading", name="Turn the AI Gateway off").wait_for()
        assert await faults_of(page) == []
        await page.goto("/settings/organization")
        await page.get_by_label("Email", exact=True).fill("not an address")
        await page.get_by_role("button", name="Add member").click()
        await page.locator(".errorlist").wait_for()
        assert await faults_of(page) == []
        await page.get_by_label("Email", exact=True).fill("new@acme.example")
        await page.get_by_role("button", name="Add member").click()
        link = await page.locator("#member-link").inner_text()
        assert await faults_of(page) == []
        await page.goto("/admin/ai/keys/create")
        await page.get_by_label("Key name", exact=True).fill("Shown once")
        await page.get_by_role("button", name="Create key").click()
        await page.locator("#new-key").wait_for()
        assert await faults_of(page) == []
    async with context_for(chromium, filled.url, color_scheme="dark", viewport=PHONE) as context:
        page = await context.new_page()
        assert await examine(page, (link, f"{filled.url}/welcome/x/y/")) == {}
        await page.goto("/login")
        await page.get_by_label("Email", exact=True).fill("unknown@acme.example")
        await page.get_by_label("Password", exact=True).fill("wrong")
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await page.locator(".errorlist").wait_for()
        assert await faults_of(page) == []


@pytest.mark.parametrize(
    ("scheme", "window"), [("light", DESK), ("dark", PHONE)], ids=["light 1440", "dark 360"]
)
async def test_policy_effect_and_error_pages_have_no_fault(
    chromium: Browser, filled: Server, scheme: str, window: dict[str, int]
) -> None:
    async with context_for(chromium, filled.url, color_scheme=scheme, viewport=window) as context:
        page = await context.new_page()
        await sign_in(page)
        await page.goto("/admin/ai/policies/create")
        await page.get_by_label("Blocked models", exact=True).fill("gpt-4o-mini")
        await page.locator("#effect svg.chart").wait_for()
        assert await faults_of(page) == []
        for name in LAST_RESORTS:
            await page.route("**/last-resort", partial(_answer, html=render_to_string(name)))
            assert await examine(page, ("/last-resort",)) == {}, name
            await page.unroute("**/last-resort")


async def _answer(route: Route, html: str) -> None:
    await route.fulfill(body=html, content_type="text/html")


async def test_tab_goes_through_every_page_in_its_order(
    chromium: Browser, filled: Server, paths: list[str]
) -> None:
    async with context_for(chromium, filled.url, viewport=DESK) as context:
        page = await context.new_page()
        await sign_in(page)
        astray = {}
        for path in paths:
            await page.goto(path, wait_until="networkidle")
            if await page.evaluate(PLACE) != -1:  # a question begins at its harmless answer
                continue
            expected, places = await page.evaluate(TABBABLE), await _places_of_tab(page)
            if places != sorted(places) or len(places) < expected:
                astray[path] = (expected, places)
        assert astray == {}


async def _places_of_tab(page: Page) -> list[int]:
    """Return where Tab goes, as places in the document, until it leaves or begins again."""
    places: list[int] = []
    for _ in range(TABS_MAX):
        await page.keyboard.press("Tab")
        place = await page.evaluate(PLACE)
        if place == -1 or (places and place == places[0] != places[-1]):
            return places
        if [place] != places[-1:]:  # a date is three stops in one field
            places.append(place)
    raise AssertionError("Tab does not come to an end")


async def test_first_visit_is_small_and_contacts_no_other_host(
    chromium: Browser, filled: Server, paths: list[str]
) -> None:
    complaints = Complaints(filled.url)
    too_large = {}
    async with context_for(chromium, filled.url) as context:
        for path in ("/login", *paths):
            page = await context.new_page()
            complaints.listen(page)
            if not 0 < (size := await _bytes_of_first_visit(page, path)) <= FIRST_VISIT_MAX_BYTES:
                too_large[path] = size
            if path == "/login":
                await sign_in(page)
            await page.close()
    assert too_large == {}
    assert complaints.foreign == []


async def _bytes_of_first_visit(page: Page, path: str) -> float:
    wire = await page.context.new_cdp_session(page)
    await wire.send("Network.enable")
    await wire.send("Network.clearBrowserCache")
    sizes: list[float] = []
    wire.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    await page.goto(path, wait_until="networkidle")
    return sum(sizes)
