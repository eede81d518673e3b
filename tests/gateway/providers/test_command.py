"""`providers list` and `providers check` as an operator runs them."""

from __future__ import annotations

import json
from typing import Any

from gateway.providers.variables import VARIABLES
from tests.commands import manage
from tests.system.servers import free_port

CANARY = "canary-4f1d0c9b7a"


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
    rows = {row["provider"]: row["answers"] for row in json.loads(ended.stdout)}
    assert rows == {"openai": False, "sandbox": True}
    assert ended.returncode == 1
    assert ended.stderr.strip() == "CommandError: No valid answer from openai"
    assert CANARY not in ended.stdout + ended.stderr


def test_sandbox_passes_check() -> None:
    ended = manage("providers", "check", variables={})
    assert ended.returncode == 0, ended.stderr
    assert "sandbox" in ended.stdout
