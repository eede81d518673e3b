"""Secrets of providers: sealed for their own row, or in a variable or a file."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.providers.secrets import (
    SEALED,
    SECRET_MAX_CHARS,
    SecretUnavailable,
    cleaned,
    fault,
    opened,
    resealed,
    seal,
    source,
)

OLD, NEW = "old " * 8, "new " * 8
SECRET = "sk-of-the-provider"
ROW = uuid4()


def test_sealed_secret_opens_with_its_key() -> None:
    stored = seal(SECRET, row=ROW, keys=[OLD])
    assert stored.startswith(SEALED)
    assert SECRET not in stored
    assert opened(stored, row=ROW, keys=[OLD]) == SECRET


def test_same_secret_is_sealed_differently_each_time() -> None:
    assert seal(SECRET, row=ROW, keys=[OLD]) != seal(SECRET, row=ROW, keys=[OLD])


def test_sealed_secret_does_not_open_in_another_row() -> None:
    stored = seal(SECRET, row=ROW, keys=[OLD])
    with pytest.raises(SecretUnavailable, match="or for another provider"):
        opened(stored, row=uuid4(), keys=[OLD])


def test_changed_secret_does_not_open() -> None:
    sealed = bytearray(base64.urlsafe_b64decode(seal(SECRET, row=ROW, keys=[OLD])[len(SEALED) :]))
    sealed[-1] ^= 1
    changed = SEALED + base64.urlsafe_b64encode(sealed).decode()
    assert fault(changed, row=ROW, keys=[OLD]) is not None


@pytest.mark.parametrize("sealed", ["", "AAAA", "not base64!", "ü"])
def test_damaged_secret_is_reported(sealed: str) -> None:
    assert "cannot be opened" in (fault(SEALED + sealed, row=ROW, keys=[OLD]) or "")


def test_wrong_key_is_reported_without_secret() -> None:
    stored = seal(SECRET, row=ROW, keys=[OLD])
    assert fault(stored, row=ROW, keys=[OLD]) is None
    sentence = fault(stored, row=ROW, keys=[NEW]) or ""
    assert "PULSE_SECRETS_KEY" in sentence
    assert SECRET not in sentence


def test_nothing_is_opened_without_key() -> None:
    stored = seal(SECRET, row=ROW, keys=[OLD])
    sentence = "PULSE_SECRETS_KEY must be set to open a secret in the database"
    assert fault(stored, row=ROW, keys=[]) == sentence


def test_nothing_is_sealed_without_key() -> None:
    with pytest.raises(SecretUnavailable, match="PULSE_SECRETS_KEY must be set"):
        seal(SECRET, row=ROW, keys=[])


def test_key_is_rotated_without_gap() -> None:
    stored = seal(SECRET, row=ROW, keys=[OLD])
    assert opened(stored, row=ROW, keys=[NEW, OLD]) == SECRET
    again = resealed(stored, row=ROW, keys=[NEW, OLD])
    assert opened(again, row=ROW, keys=[NEW]) == SECRET
    assert resealed(again, row=ROW, keys=[NEW, OLD]) == again


@pytest.mark.parametrize("stored", ["", "env:NAME", "file:/run/secrets/key"])
def test_only_sealed_secrets_are_sealed_again(stored: str) -> None:
    assert resealed(stored, row=ROW, keys=[NEW]) == stored


def test_secret_that_does_not_open_is_not_sealed_again() -> None:
    with pytest.raises(SecretUnavailable, match="cannot be opened"):
        resealed(seal(SECRET, row=ROW, keys=[OLD]), row=ROW, keys=[NEW])


def test_row_without_secret_has_empty_one() -> None:
    assert opened("", row=ROW, keys=[]) == ""


def test_variable_has_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_PROVIDER", SECRET)
    assert opened("env:KEY_OF_PROVIDER", row=ROW, keys=[]) == SECRET
    monkeypatch.setenv("KEY_OF_PROVIDER", f"{SECRET}\nx: y")
    assert (fault("env:KEY_OF_PROVIDER", row=ROW, keys=[]) or "").startswith(
        "The environment variable KEY_OF_PROVIDER cannot be used: The secret must be one line"
    )
    monkeypatch.delenv("KEY_OF_PROVIDER")
    assert fault("env:KEY_OF_PROVIDER", row=ROW, keys=[]) == (
        "The environment variable KEY_OF_PROVIDER is not set"
    )


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_file_has_secret(tmp_path: Path, end: str) -> None:
    (tmp_path / "key").write_bytes(f"{SECRET}{end}".encode())
    assert opened(f"file:{tmp_path}/key", row=ROW, keys=[]) == SECRET


@pytest.mark.parametrize(
    ("content", "because"),
    [
        (b"", "must not be empty"),
        (b"\n", "must not be empty"),
        (b"one\ntwo", "must be one line"),
        (f"{SECRET}\n\n".encode(), "must be one line"),
        (b"\0", "must be one line"),
        ("schlüssel".encode(), "must be one line"),
        (b"\xff", "must be one line"),
        (b"x" * (SECRET_MAX_CHARS + 1), "at most 12000 characters"),
        (b"{" + b" " * SECRET_MAX_CHARS, "at most 12000 characters"),
        (b'{"private_key": "sk-', "must be a JSON object"),
        (b"{" * 10_000, "must be a JSON object"),
    ],
)
def test_unusable_file_is_reported_without_its_content(
    tmp_path: Path, content: bytes, because: str
) -> None:
    (tmp_path / "key").write_bytes(content)
    sentence = fault(f"file:{tmp_path}/key", row=ROW, keys=[]) or ""
    assert sentence.startswith(f"The file {tmp_path}/key cannot be used: ")
    assert because in sentence
    assert "sk-" not in sentence


def test_unreadable_file_is_reported(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, because in {
        "nothing": "No such file or directory",
        "": "Is a directory",
        "pipe": "is not a file",
    }.items():
        assert because in (fault(f"file:{tmp_path}/{name}", row=ROW, keys=[]) or "")


def test_json_is_kept_on_one_line() -> None:
    assert cleaned('{\n  "client": "ü",\n  "key": "a\\nb"\n}\n') == (
        '{"client":"\\u00fc","key":"a\\nb"}'
    )


@pytest.mark.parametrize(
    "text",
    [
        *("", SECRET, "env:", "env:A B", "env:1A", f"env:{'A' * 129}", "ENV:A"),
        *("file:", "file:key", "file:/a\nb", f"file:/{'a' * 1024}", "sealed:AAAA"),
    ],
)
def test_source_must_name_variable_or_absolute_path(text: str) -> None:
    with pytest.raises(SecretUnavailable, match="must be env:NAME or file:/absolute/path"):
        source(text)


@pytest.mark.parametrize("text", ["env:A_1", "file:/run/secrets/azure key"])
def test_source_need_not_exist(text: str) -> None:
    assert source(text) == text
