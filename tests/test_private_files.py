"""The folder with database and keys belongs to one user, also where it was open before."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from django.conf import settings

from pulse.environment import private_folder, secret_key, secrets_keys
from tests.commands import SECRET_KEY, manage


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def open_umask() -> object:
    """A umask that closes nothing."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_new_folder_and_its_files_are_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    var = private_folder(tmp_path / "var")
    monkeypatch.delenv("PULSE_SECRETS_KEY", raising=False)
    secret_key(debug=True, var=var)
    keys = secrets_keys(debug=True, var=var)
    assert secrets_keys(debug=True, var=var) == keys
    assert {path.name for path in var.iterdir()} == {"secret_key", "secrets_key"}
    assert mode(var) == 0o700
    assert {mode(path) for path in var.iterdir()} == {0o600}


def test_existing_installation_is_closed_at_start(tmp_path: Path) -> None:
    var = tmp_path / "var"
    (var / "logs").mkdir(parents=True)
    names = ("pulse.sqlite3", "pulse.sqlite3-wal", "pulse.sqlite3-shm", "secret_key", "pulse.log")
    for name in names:
        (var / name).write_text("kept")
    (var / "secret_key").chmod(0o644)
    (tmp_path / "elsewhere").write_text("kept")
    (var / "link").symlink_to(tmp_path / "elsewhere")
    (var / "dangling").symlink_to(tmp_path / "nowhere")
    private_folder(var)
    assert (mode(var), mode(var / "logs")) == (0o700, 0o700)
    assert {mode(var / name) for name in names} == {0o600}
    assert {(var / name).read_text() for name in names} == {"kept"}
    assert mode(tmp_path / "elsewhere") == 0o666


def test_folder_behind_link_is_closed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "var").symlink_to(tmp_path / "disk")
    private_folder(tmp_path / "var")
    assert mode(tmp_path / "disk") == 0o700


def test_mode_that_cannot_be_changed_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    (tmp_path / "var").mkdir()
    monkeypatch.setattr(Path, "chmod", refused)
    private_folder(tmp_path / "var")
    assert "can be read by other users" in caplog.text


def test_new_database_elsewhere_is_private(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/pulse.sqlite3"
    made = manage(
        "showmigrations", "orgs", variables={"DATABASE_URL": url, "SECRET_KEY": SECRET_KEY}
    )
    assert made.returncode == 0, made.stderr
    assert mode(tmp_path / "pulse.sqlite3") == 0o600


def test_folder_of_this_installation_is_private() -> None:
    assert mode(settings.VAR_DIR) == 0o700
