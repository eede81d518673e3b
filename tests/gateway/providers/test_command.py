"""`providers list` and `providers check` as an operator runs them."""

from __future__ import annotations

import json
from typing import Any

from gateway.providers.variables import VARIABLES
from tests.commands import manage
from tests.gateway.small_vendor import SmallVendor
from tests.system.servers import free_port

CANARY = "canary-4f1d0c9b7a"
ERROR = b'{"error": {"message": "Incorrect API key provided: %s", "type": "x"}}' % CANARY.encode()


def _listed(**variables: str) -> dict[str, dict[str, Any]]:
    ended = manage("providers", "list", "--format", "json", variables=variables)
    assert ended.returncode == 0, ended.stderr
    assert CANARY not in ended.stdout + ended.stderr
    return {row["provider"]: row for row in json.loads(ended.stdout)}


def test_only_sandbox_is_configured_by_default() -> None:
    rows = _listed()
    assert [name for name, row in rows.items() if row["configured"]] == ["sandbox"]
    assert set(rows) == {*VARIABLES, "sandbox"}


def test_every_listed_variable_is_read_by_settings() -> None:
    keys = {variables.key[0]: CANARY for variables in VARIABLES.values()}
    urls = {variables.base_url: "https://gateway.example.org" for variables in VARIABLES.values()}
    rows = _listed(PULSE_SANDBOX="off", **keys, **urls)
    for name, variables in VARIABLES.items():
        assert rows[name] == {
            "provider": name,
            "configured": True,
            "key_from": variables.key[0],
            "base_url": "https://gateway.example.org",
            "base_url_from": variables.base_url,
        }
    assert rows["sandbox"]["configured"] is False


def test_alternative_key_variable_is_named() -> None:
    for variables in VARIABLES.values():
        for other in variables.key[1:]:
            rows = _listed(**{other: CANARY})
            assert [row["key_from"] for row in rows.values() if row["configured"]] == [
                other,
                "DEBUG",
            ]


def test_unresponsive_provider_fails_check_without_showing_key() -> None:
    variables = {
        "OPENAI_API_KEY": CANARY,
        "OPENAI_BASE_URL": f"http://127.0.0.1:{free_port()}/v1",
    }
    ended = manage("providers", "check", "--format", "json", variables=variables)
    rows = {row["provider"]: row for row in json.loads(ended.stdout)}
    assert {name: row["answers"] for name, row in rows.items()} == {
        "openai": False,
        "sandbox": True,
    }
    assert "the connection was refused" in rows["openai"]["said"]
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "CommandError: No valid answer from openai"
    assert CANARY not in ended.stdout + ended.stderr


def test_unknown_host_is_named_by_check() -> None:
    variables = {"OPENAI_API_KEY": CANARY, "OPENAI_BASE_URL": "https://provider.invalid/v1"}
    ended = manage("providers", "check", "--format", "json", variables=variables)
    [row] = [row for row in json.loads(ended.stdout) if row["provider"] == "openai"]
    assert "the host name could not be resolved" in row["said"]


def test_refused_key_is_shown_with_vendors_message() -> None:
    with SmallVendor() as vendor:
        vendor.answers("/v1/models", ERROR, status=401)
        variables = {"OPENAI_API_KEY": CANARY, "OPENAI_BASE_URL": f"{vendor.url}/v1"}
        ended = manage("providers", "check", "--format", "json", variables=variables)
    [row] = [row for row in json.loads(ended.stdout) if row["provider"] == "openai"]
    assert "refused the credentials of this gateway (status 401)" in row["said"]
    assert row["said"].endswith(": Incorrect API key provided: [key]")
    assert CANARY not in ended.stdout + ended.stderr


def test_sandbox_passes_check() -> None:
    ended = manage("providers", "check", variables={})
    assert ended.returncode == 0, ended.stderr
    assert "sandbox" in ended.stdout
