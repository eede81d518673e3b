"""Rows of providers for tests."""

from __future__ import annotations

from typing import Any

from gateway.models import Provider
from tests.factories import ProviderFactory


def make_row(name: str, **fields: Any) -> Provider:
    """Make a row of a server with the API of chat completions, of the installation."""
    usual = {
        "title": name,
        "base_url": "http://127.0.0.1:9/v1",
        "dialects": ["chat"],
        "auth": "bearer",
        "secret": "sk-row",
        "allow_loopback": True,
    }
    return ProviderFactory.create(name=name, **usual | fields)
