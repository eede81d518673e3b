"""`manage.py providers` on rows."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.utils.timezone import now
from pytest_django import Settings

from costs.models import Rate
from costs.prices.book import load_price_book
from gateway.models import Provider
from gateway.provider_rows.pricing import take
from gateway.provider_rows.terms import terms_of
from gateway.providers.rows import config_of
from orgs.models import HistoryEvent, Organization
from tests.commands import output_of
from tests.fake_provider import HOSTS, FakeProvider
from tests.gateway.provider_rows.conftest import SEALING_KEY

pytestmark = pytest.mark.django_db

SECRET = "canary-3b9d27c5f1e04a68"
AZURE = ("--base-url", "https://acme.openai.azure.com/openai/v1")
LOCAL = ("--base-url", "http://127.0.0.1:8000/v1", "--dialects", "chat", "--auth", "none")

providers = partial(output_of, "providers")


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret is on standard input."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{SECRET}\n"))


def listed() -> dict[str, dict[str, Any]]:
    rows = json.loads(providers("list", "--format", "json"))
    return {row["provider"]: row for row in rows}


def test_known_address_gives_what_is_not_given(typed: None) -> None:
    printed = providers("add", "Azure-EU", *AZURE, "--secret-stdin", "--regions", "eu")
    assert "Began with the values of Azure OpenAI." in printed
    assert 'Added provider "azure-eu"; models: azure-eu/MODEL.' in printed
    row = Provider.objects.get()
    assert (row.title, row.auth, row.family) == ("Azure OpenAI", "header:api-key", "openai")
    assert (row.org, row.enabled, row.regions) == (None, True, ["eu"])
    assert config_of(row).headers == {"api-key": SECRET}


def test_options_replace_values_of_preset() -> None:
    words = ("--preset", "groq", "--auth", "none", "--dialects", "chat", "--cap-name", "max_tokens")
    providers("add", "fast", *words, "--drop", "logprobs", "--title", "Fast")
    row = Provider.objects.get()
    assert (row.dialects, row.dropped, row.cap_name) == (["chat"], ["logprobs"], "max_tokens")
    assert (row.title, row.base_url) == ("Fast", "https://api.groq.com/openai/v1")


@pytest.mark.parametrize(
    ("vendor", "auth", "family"),
    [
        ("openai", "bearer", "openai"),
        ("anthropic", "header:x-api-key", "anthropic"),
        ("google", "header:x-goog-api-key", "google"),
        ("mistral", "bearer", "mistral"),
    ],
)
def test_second_account_of_vendor_begins_as_vendor(vendor: str, auth: str, family: str) -> None:
    providers("add", "second", "--preset", vendor, "--secret-env", "SECOND_KEY")
    row = Provider.objects.get()
    assert (row.auth, row.family, row.secret) == (auth, family, "env:SECOND_KEY")
    assert row.base_url.startswith("https://api.") or family == "google"


def test_models_are_given_with_what_server_calls_them() -> None:
    models = ("--model", "gpt-4o=prod-4o,gpt-4o-mini", "--model", "Llama3.3:70B=llama")
    providers("add", "local", *LOCAL, *models)
    row = Provider.objects.get()
    assert row.models == ["gpt-4o", "gpt-4o-mini", "Llama3.3:70B"]
    assert row.names == {"gpt-4o": "prod-4o", "llama3.3:70b": "llama"}


def test_every_option_reaches_its_column() -> None:
    providers(
        *("add", "local", *LOCAL, "--header", "x-team=7", "--query", "api-version=2025-01-01"),
        *("--fixed-name", "it", "--no-stream-options", "--keeps"),
        *("--connect-timeout", "1", "--first-byte-timeout", "2", "--idle-timeout", "3"),
        *("--timeout", "4", "--concurrent", "5", "--weight", "6", "--order", "7"),
        *("--context", "8000", "--max-output", "900"),
        *("--base-url-for", "chat=http://localhost:9000/other"),
    )
    row = Provider.objects.get()
    config = config_of(row)
    assert (config.headers, config.query) == ({"x-team": "7"}, {"api-version": "2025-01-01"})
    assert config.base_urls == {"chat": "http://localhost:9000/other"}
    assert (row.fixed_name, row.takes_stream_options, row.keeps) == ("it", False, True)
    assert (row.connect_s, row.first_byte_s, row.idle_s, row.total_s) == (1, 2, 3, 4)
    assert (row.concurrent_calls, row.weight, row.order) == (5, 6, 7)
    assert (row.context_tokens, row.max_output_tokens) == (8000, 900)
    assert row.allow_loopback


def test_update_changes_only_given_options(typed: None) -> None:
    providers("add", "azure-eu", *AZURE, "--secret-stdin")
    secret = Provider.objects.get().secret
    providers("update", "AZURE-EU", "--weight", "3", "--rename", "azure", "--disable")
    row = Provider.objects.get()
    assert (row.name, row.weight, row.enabled, row.secret) == ("azure", 3, False, secret)
    assert row.keeps
    providers("update", "azure", "--no-keeps")
    assert not Provider.objects.get().keeps
    assert row.title == "Azure OpenAI"
    providers("update", "azure", "--enable")
    assert Provider.objects.get().enabled


def test_empty_value_removes_what_was_set() -> None:
    given = ("--header", "x-a=1", "--query", "v=2", "--cap-name", "max_tokens", "--regions", "eu")
    limits = ("--concurrent", "5", "--context", "8000", "--max-output", "900", "--timeout", "60")
    elsewhere = ("--base-url-for", "chat=http://localhost:9000/other")
    models = ("--model", "a=b", "--fixed-name", "it")
    providers("add", "mine", *LOCAL, *given, *limits, *elsewhere, *models)
    options = (*given, *limits, *elsewhere, *models)[::2]
    providers("update", "mine", *(word for option in options for word in (option, "")))
    providers("add", "plain", *LOCAL)
    mine, plain = Provider.objects.order_by("name")
    assert terms_of(mine) == replace(terms_of(plain), name="mine", title="mine")


def test_other_urls_of_known_server_follow_its_base_url() -> None:
    own = "https://models.acme.example/anthropic"
    providers("add", "us", *_bedrock("us-east-1"), "--secret-env", "HOME")
    providers("update", "us", *_bedrock("eu-west-1"))
    row = Provider.objects.get()
    assert row.base_urls == {
        "messages": "https://bedrock-runtime.eu-west-1.amazonaws.com/anthropic"
    }
    providers("update", "us", "--base-url-for", f"messages={own}")
    providers("update", "us", *_bedrock("eu-central-1"))
    assert Provider.objects.get().base_urls == {"messages": own}


def _bedrock(region: str) -> tuple[str, str]:
    return "--base-url", f"https://bedrock-runtime.{region}.amazonaws.com/openai/v1"


@pytest.mark.parametrize("preset", [(), ("--preset", "vllm")])
@pytest.mark.parametrize(("secret", "auth"), [((), "none"), (("--secret-env", "HOME"), "bearer")])
def test_own_server_has_key_or_none(
    preset: tuple[str, ...], secret: tuple[str, ...], auth: str
) -> None:
    at = ("--base-url", "http://127.0.0.1:8000/v1", "--dialects", "chat")
    providers("add", "local", *at, *preset, *secret)
    row = Provider.objects.get()
    assert (row.auth, config_of(row).fault) == (auth, None)


def test_organization_has_its_own_row(acme: Organization) -> None:
    printed = providers("add", "ours", *LOCAL, "--org", "acme")
    assert 'Added provider "ours" of acme' in printed
    assert Provider.objects.get().org == acme
    assert listed()["ours"]["of"] == "acme"


def test_private_address_needs_option() -> None:
    words = ("--base-url", "http://10.0.0.5:8000/v1", "--dialects", "chat", "--auth", "none")
    with pytest.raises(CommandError, match="must start with https"):
        providers("add", "local", *words)
    providers("add", "local", *words, "--allow-private")
    row = Provider.objects.get()
    assert (row.allow_private, row.allow_loopback) == (True, False)


def test_list_shows_vendors_and_rows_without_secrets(typed: None) -> None:
    providers("add", "azure-eu", *AZURE, "--secret-stdin", "--weight", "2", "--order", "3")
    rows = listed()
    assert rows["openai"]["of"] == "environment"
    assert rows["azure-eu"] == {
        "provider": "azure-eu",
        "of": "installation",
        "configured": True,
        "key_from": "sealed",
        "base_url": AZURE[1],
        "base_url_from": None,
        "dialects": ["chat", "responses", "embeddings"],
        "weight": 2,
        "order": 3,
        "regions": [],
        "fault": None,
    }
    assert SECRET not in providers("list")
    assert Provider.objects.get().secret not in providers("list")


def test_unreadable_secret_is_named(typed: None, settings: Settings) -> None:
    providers("add", "azure-eu", *AZURE, "--secret-stdin")
    settings.SECRETS_KEYS = ("another-key-that-seals-secrets-0123456789",)
    row = listed()["azure-eu"]
    assert not row["configured"]
    assert row["fault"].startswith(
        'Provider "Azure OpenAI" cannot be called: The secret cannot be opened'
    )


def test_secret_of_missing_file_is_warning(tmp_path: Path) -> None:
    file = tmp_path / "key"
    printed = providers("add", "azure-eu", *AZURE, "--secret-file", str(file))
    assert f'Warning: Provider "Azure OpenAI" cannot be called: The file {file}' in printed
    file.write_text(SECRET)
    assert config_of(Provider.objects.get()).secret == SECRET


def test_rotated_secret_replaces_old_one(typed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    providers("add", "azure-eu", *AZURE, "--secret-stdin")
    monkeypatch.setattr("sys.stdin", io.StringIO("another-secret"))
    printed = providers("rotate-secret", "azure-eu", "--secret-stdin")
    assert config_of(Provider.objects.get()).secret == "another-secret"
    assert "another-secret" not in printed


def test_all_secrets_are_sealed_with_first_key(typed: None, settings: Settings) -> None:
    providers("add", "azure-eu", *AZURE, "--secret-stdin")
    settings.SECRETS_KEYS = ("a-newer-key-that-seals-secrets-0123456789", SEALING_KEY)
    assert "Sealed 1 secrets again." in providers("rotate-secret", "--all")
    settings.SECRETS_KEYS = settings.SECRETS_KEYS[:1]
    assert config_of(Provider.objects.get()).secret == SECRET
    assert "Sealed 0 secrets again." in providers("rotate-secret", "--all")
    settings.SECRETS_KEYS = (SEALING_KEY,)
    with pytest.raises(CommandError, match="cannot be opened: azure-eu"):
        providers("rotate-secret", "--all")


def test_changes_are_recorded_without_secrets(typed: None) -> None:
    providers("add", "azure-eu", *AZURE, "--secret-stdin", "--header", "x-team=canary-header")
    providers("update", "azure-eu", "--weight", "3")
    providers("rotate-secret", "azure-eu", "--secret-env", "AZURE_KEY")
    providers("remove", "azure-eu")
    events = list(HistoryEvent.objects.order_by("id"))
    assert [event.event for event in events] == [
        *("provider_created", "provider_changed"),
        *("provider_secret_rotated", "provider_deleted"),
    ]
    assert (events[1].before, events[1].after) == ({"weight": 0}, {"weight": 3})
    assert events[2].after == {"secret": "env:AZURE_KEY"}
    kept = json.dumps([[event.before, event.after] for event in events])
    assert SECRET not in kept
    assert "sealed:" not in kept
    assert "canary-header" not in kept


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("add", "x", *LOCAL, "--org", "other"), 'Organization "other" does not exist'),
        (("add", "x", "--preset", "nothing"), 'Unknown preset "nothing"; must be one of'),
        (("add", "x", "--dialects", "chat"), "--base-url must be given"),
        (("add", "x", "--base-url", "https://[::1"), "Not a valid URL"),
        (("add", "x", "--base-url", "https://x/{a}/v1"), "--base-url must be given"),
        (("update", "taken", "--base-url", "https://[::1"), "Not a valid URL"),
        (("add", "x", "--preset", "azure"), "of Azure OpenAI it is https://{name}.openai.azure"),
        (("add", "x", *LOCAL, "--header", "nothing"), "--header must be NAME=VALUE"),
        (("add", "taken", *LOCAL), "A provider with this name exists already"),
        (("add", "x", *AZURE), 'The authentication "header:api-key" needs a secret'),
        (("add", "x", *AZURE, "--secret-stdin", "--secret-env", "A"), "not allowed with"),
        (("update", "other", "--enable"), 'Provider "other" does not exist'),
        (("update", "taken"), "At least one change must be given"),
        (("remove", "other"), 'Provider "other" does not exist'),
        (("rotate-secret", "taken"), "A name and one of --secret-stdin"),
        (("rotate-secret", "taken", "--all"), "--all takes neither a name nor a secret"),
        (("check", "other"), 'Provider "other" does not exist or is not configured'),
        (("check", "--take", "x"), "--take must be given with the name of a provider"),
    ],
)
def test_invalid_input_is_one_line_error(words: tuple[str, ...], sentence: str) -> None:
    providers("add", "taken", *LOCAL)
    with pytest.raises(CommandError) as refusal:
        providers(*words)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert Provider.objects.count() == 1


# --- check ------------------------------------------------------------------------------------


def check(*words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(providers("check", *words, "--format", "json"))
    return found


def test_check_lists_models_and_takes_them(prices: object, monkeypatch: pytest.MonkeyPatch) -> None:
    names = HOSTS["groq"].models
    with FakeProvider(host="groq") as fake:
        url = fake.base_url("groq")
        providers("add", "fast", "--preset", "groq", "--base-url", url, "--secret-env", "FAST_KEY")
        monkeypatch.setenv("FAST_KEY", HOSTS["groq"].key)
        [row] = check("fast")
        assert (row["answers"], row["models"]) == (True, len(names))
        shown = check("fast", "--models")
        assert [each["model"] for each in shown] == list(names)
        assert {(each["price"], each["listed"]) for each in shown} == {("unpriced", False)}
        printed = providers("check", "fast", "--take", names[0])
        with pytest.raises(CommandError, match="The provider does not list other"):
            providers("check", "fast", "--take", "other")
    assert Provider.objects.get().models == [names[0]]
    assert f"{names[0]} has no price, so calls to it are refused: prices set" in printed


def test_refused_key_fails_check(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeProvider(host="groq") as fake:
        url = fake.base_url("groq")
        providers("add", "fast", "--preset", "groq", "--base-url", url, "--secret-env", "FAST_KEY")
        monkeypatch.setenv("FAST_KEY", SECRET)
        with pytest.raises(CommandError, match="No valid answer from fast"):
            providers("check", "fast")


def test_taken_model_has_price_of_known_server(prices: object, typed: None) -> None:
    providers("add", "fast", "--preset", "groq", "--secret-stdin")
    taken = take(
        Provider.objects.get(),
        ["llama-3.3-70b-versatile", "x"],
        load_price_book(),
        at=now(),
    )
    assert (taken.priced, taken.unpriced) == (("llama-3.3-70b-versatile",), ("x",))
    rate = Rate.objects.get(provider="fast")
    assert (rate.model, rate.service_tier) == ("llama-3.3-70b-versatile", "standard")
    assert rate.input_usd_per_mtok > 0
    assert rate.source.startswith("taken from genai-prices ")
    assert Provider.objects.get().models == ["llama-3.3-70b-versatile", "x"]
    again = take(Provider.objects.get(), ["llama-3.3-70b-versatile"], load_price_book(), at=now())
    assert (again.priced, again.unpriced) == ((), ())


def test_server_without_list_is_not_asked(typed: None) -> None:
    providers("add", "bedrock", "--preset", "bedrock", "--secret-stdin", *BEDROCK)
    [row] = check("bedrock")
    assert (row["answers"], row["message"]) == (None, "Amazon Bedrock serves no list of models")


BEDROCK = ("--base-url", "https://bedrock-runtime.eu-central-1.amazonaws.com/openai/v1")
