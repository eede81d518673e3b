"""An invalid setting stops every start with one line that names it; a valid one is accepted."""

from __future__ import annotations

import os
import runpy
from collections.abc import Mapping
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from gateway.core.providers import USUAL, TimeLimits
from tests.commands import SECRET_KEY, environment, manage

PRODUCTION = {"DEBUG": "off", "SECRET_KEY": SECRET_KEY, "ALLOWED_HOSTS": "example.org"}

# The variable that is wrong, its value, what is set besides.
BAD = [
    ("DATABASE_URL", "mysql://localhost/pulse", {}),
    ("DATABASE_URL", "nonsense", {}),
    ("DATABASE_URL", "postgresql://localhost:port/pulse", {}),
    ("DEBUG", "perhaps", {}),
    ("SECRET_KEY", "", {"DEBUG": "off", "ALLOWED_HOSTS": "example.org"}),
    ("SECRET_KEY", "short", {}),
    ("SECRET_KEY", "ab" * 40, {}),
    ("SECRET_KEY", "django-insecure-" + SECRET_KEY, {}),
    ("PULSE_SECRETS_KEY", "secret@short", {}),
    ("PULSE_SECRETS_KEY", "secret@" * 5 + ",secret@short", PRODUCTION),
    ("PULSE_SECRETS_KEY", "secret@" * 5 + ",", PRODUCTION),
    ("ALLOWED_HOSTS", "example.org", {"DEBUG": "on"}),
    ("ALLOWED_HOSTS", "*", {"DEBUG": "on"}),
    ("ALLOWED_HOSTS", "", {"DEBUG": "off", "SECRET_KEY": SECRET_KEY}),
    ("PULSE_PROVIDER_TIMEOUT_S", "soon", {}),
    ("PULSE_PROVIDER_TIMEOUT_S", "0", {}),
    ("PULSE_PROVIDER_TIMEOUT_S", "3601", {}),
    ("PULSE_PROVIDER_TIMEOUT_S", "nan", {}),
    *(
        (f"PULSE_{name}_TIMEOUT_S", value, {})
        for name in ("CONNECT", "FIRST_BYTE", "IDLE")
        for value in ("soon", "0", "3601", "nan", "")
    ),
    ("PULSE_DRAIN_S", "-1", {}),
    ("PULSE_DRAIN_S", "3601", {}),
    ("PULSE_DRAIN_S", "soon", {}),
    ("PULSE_SANDBOX", "perhaps", {}),
    ("PULSE_ALLOW_HTTP_UPSTREAM", "perhaps", {}),
    ("PULSE_BEHIND_PROXY", "perhaps", {}),
    ("PULSE_PROXY_ADDRESSES", "proxy.example.org", {}),
    ("PULSE_PROXY_ADDRESSES", "10.0.0.1/8", {}),
    ("PULSE_URL", "ai.example.org", {}),
    ("PULSE_URL", "ftp://ai.example.org", {}),
    ("PULSE_URL", "https://ai.example.org/pulse", {}),
    ("PULSE_URL", "https://ai.example.org:port", {}),
    ("PULSE_HTTPS_REDIRECT", "perhaps", PRODUCTION),
    ("PULSE_HSTS", "31536000", PRODUCTION),
    ("EMAIL_URL", "mail.example.org", {}),
    ("EMAIL_URL", "smtp://user:secret@host:port", {"EMAIL_FROM": "pulse@example.org"}),
    ("EMAIL_URL", "smtp://", {"EMAIL_FROM": "pulse@example.org"}),
    ("EMAIL_FROM", "", {"EMAIL_URL": "smtp+tls://user:secret@mail.example.org:587"}),
    ("EMAIL_FROM", "unknown", {}),
    ("PULSE_ALERTS_EVERY_S", "-1", {}),
    ("PULSE_ALERTS_EVERY_S", "often", {}),
    ("PULSE_ALERTS_RETRY_S", "0", {}),
    ("PULSE_ALERTS_RETRY_S", "601", {}),
    ("PULSE_ALERTS_SPIKE_MIN_EUR", "0", {}),
    ("PULSE_ALERTS_PRIVATE_HOSTS", "perhaps", {}),
    ("OPENAI_BASE_URL", "api.example.org/v1", {}),
    ("OPENAI_BASE_URL", "http://api.example.org/v1", {}),
    ("OPENAI_BASE_URL", "http://[bad", {}),
    ("ANTHROPIC_BASE_URL", "http://10.0.0.1", {}),
    ("GOOGLE_GEMINI_BASE_URL", "file:///etc/passwd", {}),
    ("MISTRAL_BASE_URL", "http://localhost.example.org", {}),
    ("PULSE_UPSTREAM_CONNECTIONS", "0", {}),
    ("PULSE_UPSTREAM_CONNECTIONS", "many", {}),
    ("HTTPS_PROXY", "socks5://user:secret@proxy.example.org:1080", {}),
    ("HTTPS_PROXY", "http://user:secret@proxy.example.org:port", {}),
    ("https_proxy", "http://user:secret@", {"HTTPS_PROXY": "http://proxy.example.org:3128"}),
    ("HTTP_PROXY", "http://[bad", {}),
    ("SSL_CERT_FILE", "/nowhere/authorities.pem", {}),
    ("SSL_CERT_FILE", __file__, {}),
    ("SSL_CERT_DIR", "/nowhere", {}),
    ("PULSE_CLIENT_CERT_FILE", "/nowhere/client.pem", {}),
    ("PULSE_CLIENT_CERT_FILE", __file__, {}),
    ("PULSE_CLIENT_KEY_FILE", __file__, {}),
]


def read_settings(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> dict[str, Any]:
    """Run the settings file with only these variables: what each command does first."""
    for name in set(os.environ) - {"PYTEST_CURRENT_TEST"}:
        monkeypatch.delenv(name)
    for name, value in environment(**variables).items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(settings.BASE_DIR / "pulse" / "settings.py"))


@pytest.mark.parametrize(("name", "value", "besides"), BAD)
def test_invalid_value_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, besides: dict[str, str]
) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        read_settings(monkeypatch, {**besides, name: value})
    sentence = str(caught.value)
    assert len(sentence.splitlines()) == 1
    assert name in sentence
    assert not (value and name == "SECRET_KEY" and value in sentence)
    assert "secret@" not in sentence


@pytest.mark.parametrize("command", ["migrate", "serve", "up", "orgs", "nothing-like-this"])
def test_every_command_reports_invalid_setting_in_one_line(command: str) -> None:
    ended = manage(command, variables={"PULSE_SANDBOX": "perhaps"})
    assert ended.returncode == 1
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
    assert "PULSE_SANDBOX" in ended.stderr


@pytest.mark.parametrize(
    "good",
    [
        {"OPENAI_BASE_URL": "http://127.0.0.1:9000/v1"},
        {"OPENAI_BASE_URL": "http://[::1]:9000/v1"},
        {"OPENAI_BASE_URL": "http://10.0.0.1/v1", "PULSE_ALLOW_HTTP_UPSTREAM": "on"},
        {"EMAIL_URL": "smtp+tls://user:secret@mail.example.org", "EMAIL_FROM": "a@example.org"},
        {"PULSE_ALERTS_EVERY_S": "0", "PULSE_ALERTS_PRIVATE_HOSTS": "on"},
        {"PULSE_ALERTS_RETRY_S": "600"},
        {"PULSE_PROVIDER_TIMEOUT_S": "1"},
        {"PULSE_PROVIDER_TIMEOUT_S": "3600"},
        # The total bounds the others: none need be below it.
        {"PULSE_PROVIDER_TIMEOUT_S": "5", "PULSE_CONNECT_TIMEOUT_S": "10"},
        {"PULSE_PROVIDER_TIMEOUT_S": "1", "PULSE_IDLE_TIMEOUT_S": "3600"},
        {"PULSE_FIRST_BYTE_TIMEOUT_S": "0.5", "PULSE_IDLE_TIMEOUT_S": "0.1"},
        {"PULSE_DRAIN_S": "0"},
        {"PULSE_DRAIN_S": "3600", "PULSE_PROVIDER_TIMEOUT_S": "1"},
        {"PULSE_UPSTREAM_CONNECTIONS": "1", "NO_PROXY": "localhost"},
        {"PULSE_PROXY_ADDRESSES": "10.1.2.3, 10.2.0.0/16,2001:db8::/32"},
        {"PULSE_URL": "https://ai.example.org:8443/"},
        {"HTTPS_PROXY": "http://user:p%40ss@proxy.example.org:3128"},
        {"https_proxy": "proxy.example.org:3128", "HTTPS_PROXY": "nonsense://"},
        PRODUCTION,
        PRODUCTION | {"PULSE_HSTS": "off"},
        PRODUCTION | {"PULSE_SECRETS_KEY": "a" * 32},
        {},
    ],
)
def test_valid_value_is_accepted(monkeypatch: pytest.MonkeyPatch, good: dict[str, str]) -> None:
    read_settings(monkeypatch, good)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", ()),
        ("a" * 32, ("a" * 32,)),
        ("new " * 9 + " , " + "b" * 32, ("new " * 8 + "new", "b" * 32)),
    ],
)
def test_first_sealing_key_is_first(
    monkeypatch: pytest.MonkeyPatch, text: str, keys: tuple[str, ...]
) -> None:
    read = read_settings(monkeypatch, PRODUCTION | {"PULSE_SECRETS_KEY": text})
    assert read["SECRETS_KEYS"] == keys


def test_production_settings_pass_deployment_checks() -> None:
    ended = manage("check", "--deploy", "--fail-level", "WARNING", variables=PRODUCTION)
    assert ended.returncode == 0, ended.stderr
    assert "no issues" in ended.stdout


@pytest.mark.parametrize(
    ("value", "seconds", "subdomains", "preload"),
    [
        ("off", 0, False, False),
        ("on", 31_536_000, False, False),
        ("subdomains", 31_536_000, True, False),
        ("preload", 31_536_000, True, True),
    ],
)
def test_hsts_is_chosen_by_setting(
    monkeypatch: pytest.MonkeyPatch, value: str, seconds: int, subdomains: bool, preload: bool
) -> None:
    read = read_settings(monkeypatch, PRODUCTION | {"PULSE_HSTS": value})
    assert read["SECURE_HSTS_SECONDS"] == seconds
    assert read["SECURE_HSTS_INCLUDE_SUBDOMAINS"] is subdomains
    assert read["SECURE_HSTS_PRELOAD"] is preload


def test_trusting_forwarded_scheme_does_not_trust_forwarded_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = read_settings(monkeypatch, PRODUCTION | {"PULSE_BEHIND_PROXY": "on"})
    assert read["SECURE_PROXY_SSL_HEADER"] == ("HTTP_X_FORWARDED_PROTO", "https")
    assert read["PROXY_NETWORKS"] == []  # the server then reads no forwarded address


def test_time_limits_and_drain_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = read_settings(monkeypatch, {})
    assert TimeLimits(**usual["TIME_LIMITS"]) == TimeLimits() == USUAL
    assert TimeLimits() == TimeLimits(connect_s=10, first_byte_s=300, idle_s=300, total_s=3600)
    assert usual["DRAIN_S"] == 120
    names = ("CONNECT", "FIRST_BYTE", "IDLE", "PROVIDER")
    numbers = {f"PULSE_{name}_TIMEOUT_S": f"{n}.5" for n, name in enumerate(names, 1)}
    changed = read_settings(monkeypatch, numbers | {"PULSE_DRAIN_S": "7"})
    expected = TimeLimits(connect_s=1.5, first_byte_s=2.5, idle_s=3.5, total_s=4.5)
    assert TimeLimits(**changed["TIME_LIMITS"]) == expected
    assert changed["DRAIN_S"] == 7
