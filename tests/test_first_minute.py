"""The first minute in a real browser: start, sign in, send a request, view it."""

from __future__ import annotations

import re

from playwright.async_api import Browser, Page, expect

from tests.chromium import IN_ONE_BROWSER
from tests.commands import SECRET_KEY, started, wait_until_ready
from tests.system.console import Complaints, context_for
from tests.system.servers import free_port

pytestmark = IN_ONE_BROWSER

STEPS = ["Received", "Policy check", "Held", "Sent", "Answered", "Charged"]


async def test_first_minute_of_new_installation(chromium: Browser, empty_database_url: str) -> None:
    port = free_port()
    variables = {"DATABASE_URL": empty_database_url, "SECRET_KEY": SECRET_KEY}
    with started("up", port=port, **variables) as process:
        wait_until_ready(process, port)
        assert process.stdout is not None
        printed = ""
        while "Serving on" not in printed:
            printed += process.stdout.readline()
        url = f"http://127.0.0.1:{port}"
        complaints = Complaints(url)
        async with context_for(chromium, url) as context:
            page, other = await context.new_page(), await context.new_page()
            complaints.listen(page)
            complaints.listen(other)
            await _sign_in(page, printed)
            await other.goto("/admin/ai")
            await expect(other.get_by_role("heading", name="No requests yet")).to_be_visible()
            await other.get_by_role("button", name="Follow new requests").click()
            await _send(page)
            await _understand(other)
    assert complaints.errors == []
    assert complaints.foreign == []


async def _sign_in(page: Page, printed: str) -> None:
    """Sign in with the printed credentials."""
    [address] = re.findall(r"http\S+/login", printed)
    [email] = re.findall(r"\S+@\S+", printed)
    [password] = re.findall(r"password\s+(\S+)", printed)
    await page.goto(address)
    await page.get_by_label("Email", exact=True).fill(email)
    await page.get_by_label("Password", exact=True).fill(password)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.get_by_role("heading", name="Recent requests")).to_be_visible()


async def _send(page: Page) -> None:
    """Send a request from the link of the empty list; the answer is streamed."""
    await page.get_by_role("link", name="Send a request").click()
    words = " ".join(f"word{n}" for n in range(120))
    await page.get_by_label("Prompt", exact=True).fill(words)
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(page.locator("#answer-status")).to_contain_text("ok")
    await expect(page.locator("#answer-text")).to_have_text(words)
    pieces = await page.locator("#answer-text").evaluate("each => each.childNodes.length")
    assert pieces > 2, "the answer came whole, not as it was written"
    await expect(page.locator("#fact-cost")).to_contain_text("€")
    await expect(page.locator("#recent tbody tr")).to_have_count(1)


async def _understand(page: Page) -> None:
    """The list shows the request without a reload; its page explains every step."""
    row = page.locator("#list tbody tr")
    await expect(row).to_have_count(1)
    await expect(page.get_by_role("heading", name="No requests yet")).to_have_count(0)
    await expect(row.locator(".state")).to_contain_text("ok")
    cost = await row.locator(".cost data").get_attribute("value")
    assert int(cost or 0) > 0
    await row.get_by_role("link").click()
    titles = await page.locator(".timeline h3").all_inner_texts()
    assert [re.sub(r"\s+\d.*", "", title.strip()) for title in titles] == STEPS
    await expect(page.locator(".figures .total data")).to_have_attribute("value", f"{cost}")
