"""The format of API keys, and how a key is verified without being stored.

    pulse_<12 base62: public part>_<32 base62: secret><6 base62: checksum>

The checksum is a CRC-32 of all before it, as in GitHub's tokens
(https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/): malformed keys
are rejected without a query, and scanners for leaked secrets have no false positives.

Anyone can compute a checksum. The secret's last 8 characters are a seal: an HMAC of all before them
under the pepper, so that a key that this installation never issued is rejected without a query too.
"""

from __future__ import annotations

import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

PUBLIC_CHARS: Final = 12
SECRET_CHARS: Final = 32
SEAL_CHARS: Final = 8
CHECKSUM_CHARS: Final = 6
BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase

_SHAPE: Final = re.compile(
    f"(pulse_([0-9A-Za-z]{{{PUBLIC_CHARS}}})_[0-9A-Za-z]{{{SECRET_CHARS}}})"
    f"([0-9A-Za-z]{{{CHECKSUM_CHARS}}})"
)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key. `text` is shown once and never stored."""

    text: str = field(repr=False)
    public: str
    last_four: str


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """Text with a valid format and checksum; whether the key exists is not known yet."""

    text: str = field(repr=False)
    public: str


def new_key(pepper: bytes) -> NewKey:
    """Return a new key: 142 random bits of secret, and their seal."""
    public = _random(PUBLIC_CHARS)
    body = f"pulse_{public}_{_random(SECRET_CHARS - SEAL_CHARS)}"
    body += seal(body, pepper)
    text = body + checksum(body)
    return NewKey(text=text, public=public, last_four=text[-4:])


def parse(text: str) -> ParsedKey | None:
    """Return the parsed key, or None when `text` is not well-formed."""
    match = _SHAPE.fullmatch(text)
    if match is None or checksum(match[1]) != match[3]:
        return None
    return ParsedKey(text=text, public=match[2])


def digest(text: str, pepper: bytes) -> bytes:
    """Return the HMAC-SHA-256 that is stored for a key (32 bytes)."""
    mac = _keyed(pepper).copy()
    mac.update(text.encode())
    return mac.digest()


def is_sealed(text: str, pepper: bytes) -> bool:
    """Whether a parsed key was issued under this pepper. Keys of earlier versions have no seal."""
    body = text[:-CHECKSUM_CHARS]
    return hmac.compare_digest(seal(body[:-SEAL_CHARS], pepper), body[-SEAL_CHARS:])


def seal(body: str, pepper: bytes) -> str:
    """Return the HMAC of a key's text before its seal, as base62 digits (47 bits)."""
    return _base62(int.from_bytes(digest(f"seal:{body}", pepper)[:16]), SEAL_CHARS)


@lru_cache(maxsize=8)
def _keyed(pepper: bytes) -> hmac.HMAC:
    # `hmac.digest` releases the GIL, however short the text: with another thread running, waiting
    # to reacquire it took 7 % of a request's time on the event loop.
    return hmac.new(pepper, digestmod="sha256")


def matches(text: str, kept_digest: bytes, pepper: bytes) -> bool:
    """Whether `text` is the key stored as `kept_digest`, compared in constant time."""
    return hmac.compare_digest(digest(text, pepper), kept_digest)


def checksum(body: str) -> str:
    """Return the CRC-32 of `body` as six base62 digits."""
    return _base62(zlib.crc32(body.encode()), CHECKSUM_CHARS)


def _base62(number: int, length: int) -> str:
    """Return the last digits of a number."""
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(BASE62))
        digits.append(BASE62[digit])
    return "".join(reversed(digits))


def _random(length: int) -> str:
    return "".join(secrets.choice(BASE62) for _ in range(length))
