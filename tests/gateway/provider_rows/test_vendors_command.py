"""`providers list` and `providers check` on the vendors that the environment configures."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from gateway.providers.vendors import vendors
from tests.commands import manage, output_of
from tests.fake_provider.thread import closed_port
from tests.gateway.small_vendor import SmallVendor

pytestmark = pytest.mark.django_db

CANARY = "canary-4f1d0c9b7a"
ERROR = b'{"error": {"message": "Incorrect API key provided: %s", "type": "x"}}' % CANARY.encode()

providers = partial(output_of, "providers")


@pytest.fixture(autouse=True)
def _sandbox(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SANDBOX = True
    for vendor in vendors().values():
        for name in vendor.key_variables:
            monkeypatch.delenv(name, raising=False)


def openai_at(settings: Settings, url: str) -> None:
    settings.PROVIDERS = settings.PROVIDERS | {"openai": (CANARY, url)}


def listed() -> dict[str, dict[str, Any]]:
    return {row["provider"]: row for row in json.loads(providers("list", "--format", "json"))}


def checked(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what check prints of OpenAI, which fails."""
    with pytest.raises(CommandError, match="No valid answer from openai"):
        call_command("providers", "check", "--format", "json")
    printed = capsys.readouterr().out
    assert CANARY not in printed
    [row] = [row for row in json.loads(printed) if row["provider"] == "openai"]
    assert not row["answers"]
    found: dict[str, Any] = row
    return found


def test_only_sandbox_is_configured_by_default() -> None:
    rows = listed()
    assert [name for name, row in rows.items() if row["configured"]] == ["sandbox"]
    assert set(rows) == {*vendors(), "sandbox"}


def test_every_listed_variable_is_read_by_settings() -> None:
    keys = {vendor.key_variables[0]: CANARY for vendor in vendors().values()}
    url = "https://gateway.example.org"
    urls = {vendor.base_url_variable: url for vendor in vendors().values()}
    script = "from django.conf import settings; import json; print(json.dumps(settings.PROVIDERS))"
    ended = manage("shell", "--no-imports", "-c", script, variables=keys | urls)
    assert json.loads(ended.stdout) == {name: [CANARY, url] for name in vendors()}


def test_key_and_address_are_listed_with_their_variables(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for vendor in vendors().values():
        for variable in vendor.key_variables:
            monkeypatch.setenv(variable, CANARY)
            name = vendor.config.name
            url = "https://gateway.example.org"
            settings.PROVIDERS = settings.PROVIDERS | {name: (CANARY, url)}
            expected = {
                "of": "environment",
                "configured": True,
                "key_from": variable,
                "base_url": url + vendor.version,
                "base_url_from": vendor.base_url_variable,
            }
            row = listed()[name]
            assert row | expected == row
            assert CANARY not in providers("list")
            monkeypatch.delenv(variable)


def test_unresponsive_provider_fails_check(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    openai_at(settings, f"http://127.0.0.1:{closed_port()}/v1")
    assert "the connection was refused" in checked(capsys)["message"]


def test_unknown_host_is_named_by_check(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    openai_at(settings, "https://provider.invalid/v1")
    assert "the host name could not be resolved" in checked(capsys)["message"]


def test_refused_key_is_shown_with_vendors_message(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with SmallVendor() as vendor:
        vendor.answers("/v1/models", ERROR, status=401)
        openai_at(settings, f"{vendor.url}/v1")
        answer = checked(capsys)["message"]
    assert "refused the credentials of this gateway (status 401)" in answer
    assert answer.endswith(": Incorrect API key provided: [key]")


def test_answer_that_is_no_list_fails_check(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with SmallVendor() as vendor:
        vendor.answers("/v1/models", b"<html>")
        openai_at(settings, f"{vendor.url}/v1")
        assert checked(capsys)["message"] == "The answer is no list of models"


def test_sandbox_passes_check() -> None:
    assert "sandbox" in providers("check")
