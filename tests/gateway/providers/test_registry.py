"""The registry returns configured providers, one for each event loop."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import weakref

import pytest

from gateway.core.errors import NotConfigured
from gateway.core.providers import ProviderConfig
from gateway.providers.adapters.base import ProviderSdk
from gateway.providers.registry import Providers, ProviderSettings
from tests.fake_provider import VENDORS, FakeProvider
from tests.fake_provider.vendors import call_to, settings_at


def nowhere() -> dict[str, ProviderSettings]:
    return settings_at(dict.fromkeys(VENDORS, "http://127.0.0.1:9"))


def test_configured_providers_are_listed() -> None:
    without_key = ProviderSettings(api_key="", base_url=None)
    some = {"mistral": nowhere()["mistral"], "openai": without_key}
    assert Providers(some, sandbox=False).configured() == ("mistral",)
    assert Providers({}, sandbox=True).configured() == ("sandbox",)
    assert Providers(nowhere(), sandbox=True).configured() == (*VENDORS, "sandbox")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("openai", 'Provider "OpenAI" is not configured; set OPENAI_API_KEY'),
        ("google", 'Provider "Google" is not configured; set GOOGLE_API_KEY'),
        ("sandbox", 'Provider "Sandbox" is not configured; set PULSE_SANDBOX=on'),
    ],
)
async def test_provider_without_key_names_variable(name: str, sentence: str) -> None:
    with pytest.raises(NotConfigured) as failed:
        await Providers({}, sandbox=False).get(Providers({}, sandbox=False).vendors[name])
    assert failed.value.message == sentence
    assert failed.value.nothing_billed


async def test_provider_is_opened_once_for_concurrent_calls() -> None:
    providers = Providers(nowhere(), sandbox=True)
    asked = await asyncio.gather(*(providers.get(providers.vendors["mistral"]) for _ in range(5)))
    assert len({id(provider) for provider in asked}) == 1
    assert await providers.get(providers.vendors["mistral"]) is asked[0]
    await providers.aclose()


async def test_cancelled_waiter_does_not_fail_others() -> None:
    providers = Providers(nowhere(), sandbox=True)
    first = asyncio.create_task(providers.get(providers.vendors["openai"]))
    second = asyncio.create_task(providers.get(providers.vendors["openai"]))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is await providers.get(providers.vendors["openai"])
    await providers.aclose()


async def test_closed_provider_is_opened_again() -> None:
    providers = Providers(nowhere(), sandbox=True)
    before = await providers.get(providers.vendors["sandbox"])
    await providers.aclose()
    assert await providers.get(providers.vendors["sandbox"]) is not before
    await providers.aclose()


def test_each_event_loop_has_own_connections() -> None:
    with FakeProvider() as fake:
        providers = Providers(settings_at({"openai": fake.base_url("openai")}), sandbox=False)

        async def call_and_close() -> None:
            await (await providers.get(providers.vendors["openai"])).complete(call_to("openai"))
            await providers.aclose()

        asyncio.run(call_and_close())
        asyncio.run(call_and_close())
    assert len(fake.calls) == 2


def test_closed_event_loop_leaves_no_provider() -> None:
    providers = Providers({}, sandbox=True)

    async def opened() -> weakref.ref[ProviderSdk]:
        return weakref.ref(await providers.get(providers.vendors["sandbox"]))

    first = asyncio.run(opened())
    second = asyncio.run(opened())
    gc.collect()
    assert first() is None
    assert second() is not None


def test_vendor_sdk_is_imported_on_first_use() -> None:
    script = (
        "import sys\n"
        "import gateway.providers.registry\n"
        "import gateway.apis.chat.answer, gateway.apis.generate.answer\n"
        "import gateway.apis.messages.answer, gateway.apis.chat.mistral\n"
        "heavy = {'openai', 'anthropic', 'google.genai', 'mistralai', 'tiktoken'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_all_sdks_are_imported_before_any_call() -> None:
    script = (
        "import asyncio, sys, django\n"
        "django.setup()\n"
        "from gateway.providers.registry import Providers\n"
        "from tests.fake_provider.vendors import settings_at\n"
        "async def main():\n"
        "    vendors = dict.fromkeys(('openai', 'google'), 'http://127.0.0.1:9')\n"
        "    providers = Providers(settings_at(vendors), sandbox=True)\n"
        "    await providers.open_all()\n"
        "    heavy = {'openai', 'anthropic', 'google.genai', 'mistralai'}\n"
        "    print(sorted(heavy & set(sys.modules)))\n"
        "    await providers.aclose()\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("['google.genai', 'openai']", 0), done.stderr


async def test_provider_that_cannot_be_opened_keeps_no_other_closed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    providers = Providers(nowhere(), sandbox=True)
    opened: list[str] = []

    async def get(config: ProviderConfig) -> None:
        opened.append(config.name)
        if config.name == "openai":
            raise ImportError("broken installation")

    monkeypatch.setattr(providers, "get", get)
    await providers.open_all()
    assert opened == [*providers.configured()]
    assert 'provider "openai" could not be opened' in caplog.text


def test_openai_loads_httpx_whole_before_other_sdks_do() -> None:
    code = (
        "import sys, gateway.providers.adapters.openai; "
        "print(hasattr(sys.modules['httpx'], 'Timeout'))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "True"
