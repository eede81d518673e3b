"""Argon2 within a memory limit: a password at a time."""

from __future__ import annotations

import threading
from typing import ClassVar

from django.contrib.auth.hashers import Argon2PasswordHasher


class OneAtATimeArgon2(Argon2PasswordHasher):
    """Django's Argon2, which takes 100 MiB for each password: sign-ins at once took 1.5 GiB."""

    _turn: ClassVar[threading.Lock] = threading.Lock()

    def encode(self, password: str, salt: str) -> str:
        """Hash a password."""
        with self._turn:
            return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        """Compare a password with a hash."""
        with self._turn:
            return super().verify(password, encoded)
