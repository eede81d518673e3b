"""Runs the project's commands in processes of their own, in an environment of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

from django.conf import settings

SECRET_KEY = "for-tests-only-" + "0123456789abcdefghijklmnopqrstuvwxyz" * 2
# What a process needs from the machine; all else would let a developer's settings in.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
TIMEOUT_S = 60


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a process that is to see only these settings."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return kept | {"PYTHONUNBUFFERED": "1"} | variables


def command_line(*arguments: str) -> list[str]:
    """Return the command line of `manage.py`."""
    return [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]


def manage(*arguments: str, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return what it said."""
    return subprocess.run(
        command_line(*arguments),
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
