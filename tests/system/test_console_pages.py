"""Every page of the console, looked at by machines: accessible, quiet, narrow, light."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page

from tests.system.console import AUDITOR, MEMBER, Complaints, context_for, fill, sign_in
from tests.system.rows import Rows
from tests.system.servers import Installation, Server

pytestmark = pytest.mark.browser

FIRST_VISIT_MAX_BYTES: Final = 120 * 1024
PHONE: Final = {"width": 360, "height": 740}
DESK: Final = {"width": 1440, "height": 900}
PAGES: Final = (
    "/admin/ai",
    "/admin/ai?status=blocked&teamId=support",
    "/admin/ai?model=nothing-like-it",
    "/admin/ai?keyId=wrong",
    "/admin/ai/requests/{ok}",
    "/admin/ai/requests/{blocked}",
    "/admin/ai/requests/{unknown}",
    "/admin/ai/keys",
    "/admin/ai/keys/create",
    "/admin/ai/keys/{key}/rotate",
    "/admin/ai/keys/{key}/revoke",
    "/admin/ai/policies",
    "/admin/ai/policies/create",
    "/admin/ai/policies/{policy}",
    "/admin/ai/policies/{policy}/delete",
    "/admin/ai/playground",
    "/costs",
    "/costs/budgets",
    "/costs/budgets/create",
    "/costs/budgets/{budget}",
    "/costs/budgets/{over}",
    "/costs/budgets/{budget}/delete",
    "/settings/organization",
    "/settings/organization/members/{member}/remove",
    "/nothing/here",
)
IS_WIDER: Final = "document.documentElement.scrollWidth > innerWidth"
# Pages that show less to those who may do less.
PAGES_BY_ROLE: Final = (
    "/admin/ai",
    "/admin/ai/keys",
    "/admin/ai/keys/create",
    "/admin/ai/policies",
    "/admin/ai/playground",
    "/costs/budgets",
    "/costs/budgets/{budget}",
    "/settings/organization",
)
EMPTY_PAGES: Final = (
    "/admin/ai",
    "/admin/ai/keys",
    "/admin/ai/policies",
    "/admin/ai/policies/create",
    "/admin/ai/playground",
    "/costs",
    "/costs/budgets",
    "/costs/budgets/create",
)


@pytest.fixture(scope="module")
def filled(installation: Installation) -> Iterator[Server]:
    """A server with a month of data."""
    fill(installation)
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
        for status in ("ok", "blocked", "unknown")
    }
    ids |= {
        name: rows.value(f"SELECT id FROM {table} WHERE org_id = %s LIMIT 1", acme)  # noqa: S608
        for name, table in (("key", "api_key"), ("policy", "policy"), ("member", "membership"))
    }
    ids |= {
        name: rows.value("SELECT id FROM budget WHERE org_id = %s AND is_hard = %s", acme, is_hard)
        for name, is_hard in (("budget", True), ("over", False))
    }
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
async def test_no_page_has_a_fault(
    chromium: Browser, filled: Server, paths: list[str], scheme: str, window: dict[str, int]
) -> None:
    complaints = Complaints(filled.url)
    async with context_for(chromium, filled.url, color_scheme=scheme, viewport=window) as context:
        page = await context.new_page()
        complaints.listen(page)
        assert await examine(page, ["/login"]) == {}
        await sign_in(page)
        assert await examine(page, paths) == {}
    assert complaints.errors == []
    assert complaints.foreign == []


async def test_an_organization_without_anything_has_good_pages_too(
    chromium: Browser, filled: Server
) -> None:
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


@pytest.mark.parametrize("width", [360, 768, 2560])
async def test_no_page_scrolls_sideways(
    chromium: Browser, filled: Server, paths: list[str], width: int
) -> None:
    window = {"width": width, "height": 900}
    async with context_for(chromium, filled.url, viewport=window) as context:
        page = await context.new_page()
        await sign_in(page)
        wide = []
        for path in paths:
            await page.goto(path)
            if await page.evaluate(IS_WIDER):
                wide.append(path)
        assert wide == []


async def test_dialogs_and_a_streamed_answer_have_no_fault(
    chromium: Browser, filled: Server
) -> None:
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


@pytest.mark.parametrize("path", ["/login", "/admin/ai", "/admin/ai/playground"])
async def test_a_first_visit_is_small(chromium: Browser, filled: Server, path: str) -> None:
    async with context_for(chromium, filled.url) as context:
        door = await context.new_page()
        if path != "/login":
            await sign_in(door)
        page = await context.new_page()
        wire = await context.new_cdp_session(page)
        await wire.send("Network.enable")
        await wire.send("Network.clearBrowserCache")
        sizes: list[float] = []
        wire.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
        await page.goto(path, wait_until="networkidle")
        assert 0 < sum(sizes) <= FIRST_VISIT_MAX_BYTES, json.dumps(sizes)
