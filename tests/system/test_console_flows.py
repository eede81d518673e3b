"""User flows of the console, with scripts and without, in a real browser."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Error, Page, Route, expect

from tests.chromium import IN_ONE_BROWSER
from tests.system.console import ADMIN, Console, sign_in

pytestmark = IN_ONE_BROWSER

HIDDEN_TAB: Final = """
let isHidden = false;
Object.defineProperty(document, "hidden", {get: () => isHidden});
window.hideTab = (hidden) => {
  isHidden = hidden;
  document.dispatchEvent(new Event("visibilitychange"));
};
"""
FOLLOWS_EVERY_MS: Final = 2_000


@pytest_asyncio.fixture(loop_scope="session")
async def desk(console: Console) -> AsyncIterator[Page]:
    """The admin at a desk; nothing may complain while the test runs."""
    async with console.page() as page:
        yield page


@pytest_asyncio.fixture(loop_scope="session")
async def plain(console: Console) -> AsyncIterator[Page]:
    """The same admin with a browser that runs no scripts."""
    async with console.page(scripts=False) as page:
        yield page


async def ask(console: Console, *, key: str | None = None, **body: Any) -> str:
    """Send a request as a program does and return its id."""
    key = key or console.installation.key
    sent = {"model": "sandbox-small", "prompt": "Say hello"} | body
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{console.url}/api/ai/request", json=sent, headers={"x-pulse-key": key}
        ) as answer,
    ):
        return str(answer.headers["x-pulse-request-id"])


# --- the first minute ----------------------------------------------------------------------------


async def test_first_minute(desk: Page) -> None:
    await desk.goto("/admin/ai")
    await desk.get_by_role("link", name="Playground", exact=True).click()
    await expect(desk.get_by_label("Model", exact=True)).to_have_value("sandbox-small")
    await desk.get_by_label("Prompt", exact=True).fill("Tell me about gateways")
    await desk.get_by_role("button", name="Send", exact=True).click()
    await expect(desk.locator("#answer-text")).to_have_text("Tell me about gateways")
    await expect(desk.locator("#fact-cost")).to_contain_text("€")
    first_row = desk.locator("#recent tbody tr").first
    await expect(first_row).to_contain_text("sandbox-small")
    await expect(first_row).to_contain_text(ADMIN)
    await expect(desk.locator("#trace")).to_contain_text("Allowed by every policy.")
    await desk.get_by_role("link", name="View this request").click()
    steps = await desk.locator(".timeline h3").all_inner_texts()
    titles = [re.sub(r"\s+\d.*", "", step.strip()) for step in steps]
    assert titles == ["Received", "Policy check", "Held", "Sent", "Answered", "Charged"]


async def test_first_minute_without_scripts(plain: Page) -> None:
    await plain.goto("/admin/ai")
    await plain.get_by_role("link", name="Playground", exact=True).click()
    await plain.get_by_label("Prompt", exact=True).fill("Tell me about gateways")
    await plain.get_by_role("button", name="Send", exact=True).click()
    await expect(plain.locator("#answer-text")).to_have_text("Tell me about gateways")
    await expect(plain.locator("#fact-cost")).to_contain_text("€")
    await expect(plain.locator("#recent tbody tr").first).to_contain_text("sandbox-small")
    await plain.get_by_role("link", name="View this request").click()
    await expect(plain.get_by_role("heading", name="What happened")).to_be_visible()


async def test_refusal_is_shown_in_place_of_answer(desk: Page) -> None:
    await desk.goto("/admin/ai/playground?model=gpt-4")
    await desk.get_by_label("Prompt", exact=True).fill("Say hello")
    await desk.get_by_role("button", name="Send", exact=True).click()
    await expect(desk.locator("#answer-error")).to_have_text(
        'Model gpt-4 is blocked by policy "Production"'
    )
    await expect(desk.locator("#answer-status")).to_contain_text("model_blocked")
    await expect(desk.locator("#trace")).to_contain_text('Blocked by policy "Production".')
    await expect(desk.locator("#recent tbody tr").first).to_contain_text("blocked")


# --- recent requests -----------------------------------------------------------------------------


async def test_followed_list_shows_new_requests(desk: Page, console: Console) -> None:
    await desk.add_init_script(HIDDEN_TAB)
    await desk.clock.install()
    await desk.goto("/admin/ai")
    before = await desk.locator("#list tbody tr").count()
    await desk.get_by_role("button", name="Follow new requests").click()
    await expect(desk).to_have_url(re.compile(r"live=on"))
    request_id = await ask(console)
    await expect(desk.locator(f"#row-{request_id}")).to_be_visible()
    assert await desk.locator("#list tbody tr").count() == before + 1
    assert await desk.locator("#list tbody tr").first.get_attribute("data-id") == request_id
    await expect(desk.locator("#follow-news")).to_have_text("1 new request")

    asked: list[str] = []  # for rows: a changed address makes Chromium request its icon again
    desk.on("request", lambda sent: asked.append(sent.url) if "requests/new" in sent.url else None)
    await desk.evaluate("hideTab(true)")
    later = await ask(console)
    await desk.clock.run_for(2 * FOLLOWS_EVERY_MS)
    assert asked == []
    await desk.evaluate("hideTab(false)")
    await expect(desk.locator(f"#row-{later}")).to_be_visible()

    await desk.get_by_role("button", name="Follow new requests").click()
    asked.clear()
    await desk.clock.run_for(2 * FOLLOWS_EVERY_MS)
    assert asked == []


async def test_following_respects_filters(desk: Page, console: Console) -> None:
    await desk.goto("/admin/ai?teamId=red&live=on")
    await expect(desk.get_by_text("No matching requests")).to_be_visible()
    other = await ask(console, teamId="blue")
    wanted = await ask(console, teamId="red")
    await expect(desk.locator(f"#row-{wanted}")).to_be_visible()
    assert await desk.locator(f"#row-{other}").count() == 0


async def test_filters_change_list_and_address(desk: Page) -> None:
    await desk.goto("/admin/ai")
    await desk.get_by_label("Status", exact=True).select_option("blocked")
    await desk.get_by_role("button", name="Apply", exact=True).click()
    await expect(desk).to_have_url(re.compile(r"status=blocked"))
    await expect(desk.locator("#list tbody tr .state").first).to_contain_text("blocked")
    words = await desk.locator("#list tbody .status").all_inner_texts()
    assert {word.split()[-1] for word in words} == {"blocked"}
    await expect(desk.get_by_role("heading", name="Last 24 hours")).to_be_visible()
    await desk.go_back()
    await expect(desk.get_by_label("Status", exact=True)).to_have_value("")


async def test_filters_and_pages_need_no_script(plain: Page) -> None:
    await plain.goto("/admin/ai")
    await plain.get_by_label("Status", exact=True).select_option("ok")
    await plain.get_by_role("button", name="Apply", exact=True).click()
    assert "status=ok" in plain.url
    first = await plain.locator("#list tbody tr").first.get_attribute("data-id")
    await plain.get_by_role("link", name="Older requests").click()
    assert "status=ok" in plain.url
    assert await plain.locator("#list tbody tr").first.get_attribute("data-id") != first
    await plain.get_by_role("link", name="Back to the newest").click()
    assert await plain.locator("#list tbody tr").first.get_attribute("data-id") == first


async def test_list_is_exported_as_file(desk: Page) -> None:
    since = datetime.now(UTC).date() - timedelta(days=3)
    await desk.goto(f"/admin/ai?status=blocked&from={since}")
    shown = await desk.locator("#list tbody tr").count()
    async with desk.expect_download() as download:
        await desk.get_by_role("link", name="Download CSV", exact=True).click()
    lines = (await (await download.value).path()).read_text().splitlines()
    assert lines[0].startswith("requestId,occurredAt,")
    assert len(lines) - 1 == shown
    async with desk.expect_download() as download:
        await desk.get_by_role("link", name="JSON", exact=True).click()
    rows = json.loads((await (await download.value).path()).read_text())
    assert {row["status"] for row in rows} == {"blocked"}
    assert len(rows) == shown


async def test_request_can_be_linked_and_printed(desk: Page) -> None:
    await desk.goto("/admin/ai")
    await desk.locator("#list tbody a").first.click()
    await desk.get_by_role("button", name="Copy link").click()
    assert await desk.evaluate("navigator.clipboard.readText()") == desk.url
    await desk.emulate_media(media="print")
    await expect(desk.get_by_role("heading", name="What happened")).to_be_visible()
    await expect(desk.locator(".site-header")).to_be_hidden()


# --- keys ----------------------------------------------------------------------------------------


async def create_key(page: Page, name: str) -> str:
    """Create a key and return its text, which the page shows once."""
    await page.goto("/admin/ai/keys")
    await page.get_by_role("link", name="Create key", exact=True).click()
    await page.get_by_label("Key name", exact=True).fill(name)
    await page.get_by_role("button", name="Create key", exact=True).click()
    return await page.locator("#new-key").inner_text()


async def test_key_is_created_copied_rotated_and_revoked(desk: Page, console: Console) -> None:
    text = await create_key(desk, "nightly")
    await desk.get_by_role("button", name="Copy key").click()
    await expect(desk.get_by_role("button", name="Copied")).to_be_visible()
    assert await desk.evaluate("navigator.clipboard.readText()") == text
    await desk.get_by_text("OpenAI SDK (Python)").click()
    await expect(desk.locator("#snippet-openai")).to_contain_text(f'api_key="{text}"')
    await ask(console, key=text)

    await desk.goto("/admin/ai/keys")
    row = desk.get_by_role("row").filter(has_text="nightly")
    await row.get_by_role("button", name="Rotate", exact=True).click()
    dialog = desk.locator("dialog[open]")
    await expect(dialog).to_contain_text("Both are valid until the old one expires")
    await dialog.get_by_role("button", name="Rotate", exact=True).click()
    assert await desk.locator("#new-key").inner_text() != text

    await desk.goto("/admin/ai/keys")
    rows = desk.get_by_role("row").filter(has_text="nightly")
    await expect(rows).to_have_count(2)
    await (
        rows.filter(has_text="being replaced")
        .get_by_role("button", name="Revoke", exact=True)
        .click()
    )
    dialog = desk.locator("dialog[open]")
    await expect(dialog.get_by_role("link", name="Cancel")).to_be_focused()
    await desk.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await (
        rows.filter(has_text="being replaced")
        .get_by_role("button", name="Revoke", exact=True)
        .click()
    )
    await desk.locator("dialog[open]").get_by_role("button", name="Revoke", exact=True).click()
    await expect(desk.locator(".message.success")).to_contain_text("revoked")
    await expect(rows.filter(has_text="revoked")).to_have_count(1)


async def test_keys_need_no_script(plain: Page, console: Console) -> None:
    text = await create_key(plain, "without scripts")
    await ask(console, key=text)
    await plain.goto("/admin/ai/keys")
    row = plain.get_by_role("row").filter(has_text="without scripts")
    await row.get_by_role("button", name="Revoke", exact=True).click()
    await expect(plain.get_by_role("heading", name="Revoke without scripts?")).to_be_visible()
    await plain.get_by_role("button", name="Revoke", exact=True).click()
    await expect(plain.locator(".message.success")).to_contain_text("revoked")


async def test_key_with_limits_is_refused_by_its_policy(desk: Page, console: Console) -> None:
    await desk.goto("/admin/ai/keys/create")
    await desk.get_by_label("Key name", exact=True).fill("limited")
    await desk.get_by_label("Allowed models", exact=True).fill("sandbox-large")
    await desk.get_by_label("Max cost per day (EUR)", exact=True).fill("2.50")
    await desk.get_by_role("button", name="Create key", exact=True).click()
    text = await desk.locator("#new-key").inner_text()
    await expect(desk.locator(".sentence")).to_have_text(
        "Applies to key limited: allows only sandbox-large; at most 2.50 EUR per day."
    )
    refused = await ask(console, key=text)
    await desk.goto(f"/admin/ai/requests/{refused}")
    story = desk.get_by_role("region", name="What happened")
    await expect(story).to_contain_text('Blocked by policy "Key "limited"".')
    await expect(story).to_contain_text("applies to key limited")
    allowed = await ask(console, key=text, model="sandbox-large")
    await desk.goto(f"/admin/ai/requests/{allowed}")
    await expect(story).to_contain_text("Allowed")

    await desk.goto("/admin/ai/keys")
    row = desk.get_by_role("row").filter(has_text="limited")
    await row.get_by_role("link", name='Key "limited"').click()
    mode = desk.get_by_role("group", name='Mode of Key "limited"')
    await mode.get_by_role("button", name="Watch", exact=True).click()
    await expect(desk.locator(".message.success")).to_contain_text("is watched")
    await expect(mode.get_by_role("button", name="Watch", pressed=True)).to_be_visible()
    watched = await ask(console, key=text)
    await desk.goto("/admin/ai/policies")
    await desk.get_by_role("link", name="1 today").click()
    await desk.locator(f'#list a[href$="{watched}"]').first.click()
    await expect(desk.get_by_role("row").filter(has_text="limited")).to_contain_text(
        "would have refused"
    )
    await desk.goto("/admin/ai/policies")
    await desk.get_by_role("button", name='Delete Key "limited"').click()
    await desk.get_by_role("button", name="Delete policy", exact=True).click()
    await expect(desk.locator(".message.success")).to_contain_text("deleted")


# --- policies ------------------------------------------------------------------------------------


async def test_policy_form_shows_effect_while_typing(desk: Page) -> None:
    await desk.goto("/admin/ai/policies")
    await desk.get_by_role("link", name="Create policy", exact=True).click()
    await desk.get_by_label("Policy name", exact=True).fill("No Claude")
    search = desk.get_by_label("Search models to block")
    await search.fill("claude-3-5-sonnet-20241022")
    await search.press("Enter")
    blocked = desk.get_by_label("Blocked models", exact=True)
    await expect(blocked).to_have_value("claude-3-5-sonnet-20241022")
    effect = desk.locator("#effect")
    await expect(effect).to_contain_text("Blocks claude-3-5-sonnet-20241022.")
    await expect(effect).to_contain_text(re.compile(r"It would have blocked \d+ of the \d+"))
    await expect(effect.locator(".plain li").first).to_contain_text('by policy "No Claude"')
    await desk.get_by_text("7 days", exact=True).click()
    await expect(effect).to_contain_text("of the last 7 days")
    await desk.get_by_label("Max cost per day (EUR)", exact=True).fill("-1")
    await expect(effect).to_contain_text("Fix the marked fields")
    await desk.get_by_label("Max cost per day (EUR)", exact=True).fill("0.05")
    await desk.get_by_label("Max tokens per request", exact=True).fill("100000")
    await expect(effect).to_contain_text("at most 0.05 EUR per day")
    await desk.get_by_role("button", name="Save", exact=True).click()
    await expect(desk.locator(".message.success")).to_contain_text("is active")
    await desk.get_by_role("button", name="Delete No Claude").click()
    await desk.get_by_role("button", name="Delete policy", exact=True).click()
    await expect(desk.locator(".message.success")).to_contain_text("deleted")


async def test_typing_or_leaving_during_effect_request_shows_no_error(
    desk: Page,
) -> None:
    answers = asyncio.Event()

    async def late(route: Route) -> None:
        await answers.wait()
        with suppress(Error):  # the page has left already
            await route.continue_()

    await desk.route("**/policies/effect", late)
    await desk.goto("/admin/ai/policies/create")
    for name in ("gpt-4o", "gpt-4o-mini"):
        async with desk.expect_request("**/policies/effect"):
            await desk.get_by_label("Blocked models", exact=True).fill(name)
    await desk.get_by_role("link", name="Cancel").click()
    await expect(desk.get_by_role("heading", name="Policies")).to_be_visible()
    answers.set()
    await desk.unroute_all(behavior="wait")
    await expect(desk.get_by_role("alert")).to_have_count(0)


async def test_policy_form_works_without_scripts(plain: Page) -> None:
    await plain.goto("/admin/ai/policies/create")
    await plain.get_by_label("Allowed models", exact=True).fill("gpt-4o-mini")
    await plain.get_by_text("90 days", exact=True).click()
    await plain.get_by_role("button", name="Show what it would have done").click()
    effect = plain.locator("#effect")
    await expect(effect).to_contain_text("Allows only gpt-4o-mini.")
    # A slow machine evaluates less of them in the time that a page has.
    await expect(effect).to_contain_text(re.compile(r"of the last (\d+ of )?90 days"))
    await expect(plain.get_by_label("Allowed models", exact=True)).to_have_value("gpt-4o-mini")
    await plain.get_by_label("Policy name", exact=True).fill("Cheap only")
    await plain.get_by_text("Applies to", exact=True).click()
    await plain.get_by_label("Keys", exact=True).fill("code review")
    await plain.get_by_label("/v1/messages", exact=True).check()
    await plain.get_by_text("Rates", exact=True).click()
    await plain.get_by_label("Max requests per minute", exact=True).fill("60")
    await plain.get_by_role("button", name="Save", exact=True).click()
    await expect(plain.locator(".message.success")).to_contain_text("is active")
    await expect(plain.locator(".policy").filter(has_text="Cheap only")).to_contain_text(
        "Applies to key Code review, and channel messages: allows only gpt-4o-mini; "
        "at most 60 requests per minute."
    )
    await plain.get_by_role("button", name="Delete Cheap only").click()
    await plain.get_by_role("button", name="Delete policy", exact=True).click()
    await expect(plain.locator(".message.success")).to_contain_text("deleted")


# --- settings, organizations, the keyboard -------------------------------------------------------


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
async def test_settings_are_saved_and_organizations_switched(
    console: Console, *, scripts: bool
) -> None:
    # The session remembers the organization, so no other test uses it.
    async with console.page(None, scripts=scripts) as page:
        await sign_in(page)
        await _switch_and_save(page)


async def _switch_and_save(page: Page) -> None:
    await page.locator("details.menu summary").click()
    await page.get_by_role("button", name="Empty Ltd").click()
    await expect(page.locator("details.menu summary strong")).to_have_text("Empty Ltd")
    await page.goto("/settings/organization")
    switch = page.get_by_label("AI Gateway", exact=True)
    await switch.check()
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.locator(".message.success")).to_contain_text("saved")
    await expect(switch).to_be_checked()

    await page.get_by_label("Name", exact=True).fill("Empty & Co")
    await switch.uncheck()
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_role("heading", name="Turn the AI Gateway off")).to_be_visible()
    await page.get_by_role("link", name="Cancel").click()
    await expect(switch).to_be_checked()

    await switch.uncheck()
    await page.get_by_label("Name", exact=True).fill("Empty Ltd")
    await page.get_by_role("button", name="Save", exact=True).click()
    await page.get_by_role("button", name="Turn the gateway off").click()
    await expect(page.locator(".message.success")).to_contain_text("saved")
    await expect(switch).not_to_be_checked()


async def test_keyboard_suffices(desk: Page) -> None:
    await desk.goto("/admin/ai/keys")
    await desk.keyboard.press("Tab")
    await expect(desk.get_by_role("link", name="Skip to content")).to_be_focused()
    await desk.keyboard.press("Enter")
    await expect(desk.locator("main")).to_be_focused()
    await desk.keyboard.press("Tab")
    await expect(desk.get_by_role("link", name="Download CSV")).to_be_focused()

    menu = desk.locator("details.menu")
    await menu.locator("summary").focus()
    await desk.keyboard.press("Enter")
    await expect(menu.get_by_role("button", name="Sign out")).to_be_visible()
    await desk.keyboard.press("Tab")
    await desk.keyboard.press("Escape")
    await expect(menu.get_by_role("button", name="Sign out")).to_be_hidden()
    await expect(menu.locator("summary")).to_be_focused()

    revoke = desk.get_by_role("button", name="Revoke", exact=True).first
    await revoke.focus()
    await desk.keyboard.press("Enter")
    await expect(desk.get_by_role("link", name="Cancel")).to_be_focused()
    await desk.keyboard.press("Enter")
    await expect(desk.locator("dialog[open]")).to_have_count(0)
    await expect(revoke).to_be_focused()


async def test_unreachable_server_is_reported_in_place(console: Console) -> None:
    async with console.page(complains=True) as page:  # a failed request is Chromium's complaint
        await page.route("**/api/ai/request", lambda route: route.abort())
        await page.route("**/keys/*/revoke?org=*", lambda route: route.abort())
        await page.goto("/admin/ai/playground")
        await page.get_by_label("Prompt", exact=True).fill("Say hello")
        await page.get_by_role("button", name="Send", exact=True).click()
        await expect(page.locator("#answer-error")).to_contain_text("cannot be reached")
        await expect(page.get_by_role("button", name="Send", exact=True)).to_be_enabled()
        await page.goto("/admin/ai/keys")
        await page.get_by_role("button", name="Revoke", exact=True).first.click()
        await expect(page.get_by_role("alert")).to_contain_text("cannot be reached")


async def test_every_documented_label_exists(desk: Page) -> None:
    names = {
        "/admin/ai": {"heading": ["Recent requests"], "link": ["Playground", "Download CSV"]},
        "/admin/ai/keys": {"link": ["Create key"], "button": ["Rotate", "Revoke"]},
        "/admin/ai/keys/create": {"textbox": ["Key name"], "button": ["Create key"]},
        "/admin/ai/policies": {"link": ["Create policy"]},
        "/admin/ai/policies/create": {
            "textbox": ["Policy name", "Allowed models", "Blocked models"],
            "spinbutton": ["Max cost per day (EUR)", "Max tokens per request"],
            "button": ["Save"],
        },
        "/admin/ai/playground": {
            "heading": ["Playground"],
            "combobox": ["Model"],
            "textbox": ["Prompt"],
            "button": ["Send"],
        },
        "/settings/organization": {"switch": ["AI Gateway"], "button": ["Save"]},
        "/costs": {"combobox": ["Group by"], "button": ["Apply"], "link": ["Download CSV"]},
    }
    for path, roles in names.items():
        await desk.goto(path)
        for role, wanted in roles.items():
            for name in wanted:
                found = desk.get_by_role(role, name=name, exact=True)  # type: ignore[arg-type]  # a literal
                assert await found.count() >= 1, (path, role, name)
