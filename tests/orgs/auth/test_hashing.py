"""Passwords are hashed one at a time, and are those of Django's Argon2."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import argon2
import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher

from orgs.auth.hashing import OneAtATimeArgon2
from pulse import settings
from tests.factories import CheapArgon2

PASSWORD, SALT = "correct horse battery staple", "some salt of these tests"


class Hasher(CheapArgon2, OneAtATimeArgon2):
    """The hasher at its least price."""


def test_installation_hashes_passwords_one_by_one() -> None:
    assert settings.PASSWORD_HASHERS[0] == f"{OneAtATimeArgon2.__module__}.OneAtATimeArgon2"


@pytest.mark.parametrize("method", ["encode", "verify"])
def test_passwords_take_turns(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def slowly(*_: Any) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        return True

    monkeypatch.setattr(Argon2PasswordHasher, method, slowly)
    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(getattr(Hasher(), method), PASSWORD, SALT) for _ in range(4)]
        assert all(each.result(timeout=120) for each in done)

    assert most == 1


def test_hash_is_that_of_argon2() -> None:
    encoded = Hasher().encode(PASSWORD, SALT)

    assert argon2.PasswordHasher().verify(encoded.removeprefix("argon2"), PASSWORD)
    assert Hasher().verify(PASSWORD, encoded)
    assert not Hasher().verify("another", encoded)
