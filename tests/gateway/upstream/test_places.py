"""The region of a vendor's host decides the price of what is processed there."""

from __future__ import annotations

import pytest

from gateway.providers.vendors import vendors


@pytest.mark.parametrize(
    ("vendor", "base_url", "place"),
    [
        ("openai", None, "global"),
        ("openai", "https://api.openai.com/v1", "global"),
        ("openai", "https://eu.api.openai.com/v1", "eu"),
        ("openai", "https://US.api.openai.com:443/v1/", "us"),
        ("openai", "https://jp.api.openai.com./v1", "jp"),
        ("openai", "https://api.openai.com.example.com/v1", "global"),
        ("openai", "https://eu.api.openai.com.example.com/v1", "global"),
        ("openai", "http://127.0.0.1:8080/eu.api.openai.com", "global"),
        ("mistral", None, "global"),
        ("mistral", "https://api.eu.mistral.ai", "eu"),
        ("mistral", "https://eu.api.mistral.ai", "global"),
        ("anthropic", "https://us.api.anthropic.com", "global"),
        ("google", None, "global"),
    ],
)
def test_region_is_read_from_host(vendor: str, base_url: str | None, place: str) -> None:
    assert vendors()[vendor].configured("k", base_url).place == place
