"""Runs the project's commands: in this process, or in others with their own environment."""

from __future__ import annotations

import http.client
import io
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from django.conf import settings
from django.core.management import call_command

SECRET_KEY = "for-tests-only-" + "0123456789abcdefghijklmnopqrstuvwxyz" * 2
# What a process needs from the machine; all else would let a developer's settings in.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE")
TIMEOUT_S = 240
READY_MAX_S = 240.0
STOP_MAX_S = 120.0


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a process with only these settings."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return kept | {"PYTHONUNBUFFERED": "1"} | variables


def command_line(*arguments: str) -> list[str]:
    """Return the command line of `manage.py`."""
    return [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]


def manage(*arguments: str, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return its output."""
    return subprocess.run(
        command_line(*arguments),
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def output_of(*words: str) -> str:
    """Run a command in this process and return what it prints."""
    out = io.StringIO()
    call_command(*words, stdout=out, stderr=out)
    return out.getvalue()


@contextmanager
def started(*arguments: str, port: int, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Start a serving command, and always stop it."""
    process = subprocess.Popen(
        command_line(*arguments, "--port", str(port)),
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=STOP_MAX_S)


def wait_until_ready(process: subprocess.Popen[str], port: int) -> None:
    """Wait until /readyz returns 200."""
    deadline = time.monotonic() + READY_MAX_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=30):
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    raise AssertionError(f"not ready: {process.communicate()[0]}")
