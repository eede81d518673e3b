"""Seal the secrets of providers for the database, and read them from where they are kept.

A row keeps one of `sealed:…`, `env:NAME` and `file:PATH`, or nothing. A sealed secret opens only in
its own row: copied to another one, it would be sent to that one's address.
"""

from __future__ import annotations

import base64
import json
import os
import re
import stat
from collections.abc import Sequence
from functools import cache
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# The JSON file of a Google service account has about 2,400 characters.
SECRET_MAX_CHARS: Final = 12_000
PATH_MAX_CHARS: Final = 1024
SEALED: Final = "sealed:"
ENVIRONMENT: Final = "env:"
FILE: Final = "file:"

_PURPOSE: Final = b"pulse provider secrets"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


class SecretUnavailable(Exception):
    """A secret cannot be kept or read; the text is a sentence without the secret."""


def cleaned(secret: str) -> str:
    """Return a secret as it is sent: one line of printable ASCII characters.

    One line end behind it is dropped. A JSON object, as Google's service accounts are, is written
    on one line. Raises SecretUnavailable.
    """
    if len(secret) > SECRET_MAX_CHARS:
        raise SecretUnavailable(f"The secret must have at most {SECRET_MAX_CHARS} characters")
    text = secret.removesuffix("\n").removesuffix("\r")
    if text.lstrip().startswith("{"):
        text = _on_one_line(text)
    if not text.strip():
        raise SecretUnavailable("The secret must not be empty")
    if not text.isascii() or not text.isprintable():
        raise SecretUnavailable("The secret must be one line of printable ASCII characters")
    return text


def source(text: str) -> str:
    """Return the text if it is `env:NAME` or `file:PATH`; neither need exist yet.

    Raises SecretUnavailable. Only operators may name sources: any variable and any file of the
    server could be sent to the row's address.
    """
    kind, _, name = text.partition(":")
    is_variable = kind + ":" == ENVIRONMENT and _VARIABLE.fullmatch(name)
    is_path = name.startswith("/") and name.isprintable() and len(name) <= PATH_MAX_CHARS
    if not is_variable and not (kind + ":" == FILE and is_path):
        raise SecretUnavailable("A secret's source must be env:NAME or file:/absolute/path")
    return text


def seal(secret: str, *, row: UUID, keys: Sequence[str]) -> str:
    """Return the text that the row of a provider keeps, sealed with the first key.

    Raises SecretUnavailable, also if there is no key.
    """
    if not keys:
        raise SecretUnavailable("PULSE_SECRETS_KEY must be set to keep a secret in the database")
    nonce = os.urandom(_NONCE_BYTES)
    sealed = nonce + _cipher(keys[0]).encrypt(nonce, cleaned(secret).encode(), row.bytes)
    return SEALED + base64.urlsafe_b64encode(sealed).decode()


def resealed(stored: str, *, row: UUID, keys: Sequence[str]) -> str:
    """Return what a row keeps, sealed with the first key; what needs no new seal, unchanged.

    Raises SecretUnavailable.
    """
    if not stored.startswith(SEALED) or (keys and _unsealed(stored, row, keys[:1]) is not None):
        return stored
    return seal(opened(stored, row=row, keys=keys), row=row, keys=keys)


def opened(stored: str, *, row: UUID, keys: Sequence[str]) -> str:
    """Return the secret that a row keeps or names; empty if it keeps none.

    Reads a file, if it names one. Raises SecretUnavailable.
    """
    if not stored:
        return ""
    if not stored.startswith(SEALED):
        kind, _, name = source(stored).partition(":")
        return _of_variable(name) if kind + ":" == ENVIRONMENT else _of_file(name)
    if not keys:
        raise SecretUnavailable("PULSE_SECRETS_KEY must be set to open a secret in the database")
    secret = _unsealed(stored, row, keys)
    if secret is None:
        raise SecretUnavailable(
            "The secret cannot be opened with PULSE_SECRETS_KEY: it was sealed with another key, "
            "or for another provider"
        )
    return secret


def fault(stored: str, *, row: UUID, keys: Sequence[str]) -> str | None:
    """Return why the secret of a row cannot be read, as a sentence, or None."""
    try:
        opened(stored, row=row, keys=keys)
    except SecretUnavailable as exc:
        return str(exc)
    return None


@cache
def _cipher(key: str) -> AESGCM:
    derived = HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=_PURPOSE)
    return AESGCM(derived.derive(key.encode()))


def _unsealed(stored: str, row: UUID, keys: Sequence[str]) -> str | None:
    """Return the secret if one of the keys opens it."""
    try:
        sealed = base64.b64decode(stored.removeprefix(SEALED), altchars=b"-_", validate=True)
    except ValueError:  # no base64
        return None
    for key in keys:
        try:
            nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
            return _cipher(key).decrypt(nonce, text, row.bytes).decode()
        except (InvalidTag, ValueError):  # another key or row; too short for a nonce
            continue
    return None


def _on_one_line(text: str) -> str:
    try:
        return json.dumps(json.loads(text), separators=(",", ":"))
    except (ValueError, RecursionError):
        # Without its cause, which has the text as an attribute.
        raise SecretUnavailable("A secret that begins with { must be a JSON object") from None


def _of_variable(name: str) -> str:
    secret = os.environ.get(name)
    if not secret:
        raise SecretUnavailable(f"The environment variable {name} is not set")
    return _clear(secret, f"The environment variable {name}")


def _of_file(path: str) -> str:
    try:
        with open(path, "rb", opener=_opened_at_once) as file:
            is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            text = file.read(SECRET_MAX_CHARS + 1) if is_file else b""
    except OSError as exc:
        raise SecretUnavailable(f"The file {path} cannot be read: {exc.strerror}") from exc
    if not is_file:
        raise SecretUnavailable(f"{path} is not a file")
    return _clear(text.decode(errors="replace"), f"The file {path}")


def _opened_at_once(path: str, flags: int) -> int:
    """Open a file; of a pipe, do not wait for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _clear(text: str, place: str) -> str:
    try:
        return cleaned(text)
    except SecretUnavailable as exc:
        raise SecretUnavailable(f"{place} cannot be used: {exc}") from exc
