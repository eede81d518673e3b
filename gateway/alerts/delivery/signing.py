"""The secret that a webhook's deliveries are signed with, and the signature."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final
from uuid import UUID

PREFIX: Final = "whsec_"


def secret_of(channel_id: UUID, version: int, pepper: bytes) -> str:
    """Return a channel's secret. It is computed each time and never stored."""
    made = hmac.digest(pepper, f"{channel_id}:{version}".encode(), hashlib.sha256)
    return PREFIX + base64.urlsafe_b64encode(made).decode().rstrip("=")


def signature(body: bytes, *, secret: str, at: int) -> str:
    """Return the header's value for a body sent at that Unix time.

    The receiver computes HMAC-SHA-256 of `<t>.<body>` with the secret as it was shown, compares it
    with `v1`, and refuses a `t` that is old.
    """
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"
