"""A key that seals secrets."""

from __future__ import annotations

import pytest
from pytest_django import Settings

SEALING_KEY = "a-key-that-seals-secrets-in-tests-0123456789"


@pytest.fixture(autouse=True)
def sealing_key(settings: Settings) -> str:
    settings.SECRETS_KEYS = (SEALING_KEY,)
    return SEALING_KEY
