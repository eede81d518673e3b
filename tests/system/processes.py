"""Processes of Python that begin with the project's libraries imported.

To import them takes a server 4 s of CPU, and a command 1 s. So one process does it
(multiprocessing's fork server), and its forks run the programs, each in an environment, a session
and with an output of its own. No module of the project is imported before the fork.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, Protocol

# The folder of the project, where its processes begin.
ROOT: Final = Path(__file__).resolve().parents[2]
LIBRARIES: Final = (
    *("aiohttp", "argon2", "genai_prices.data", "psycopg", "tiktoken"),
    *("openai.resources.chat", "openai.resources.responses", "anthropic.resources.messages"),
    *("google.genai.types", "mistralai.client"),
    *("uvicorn.protocols.http.httptools_impl", "django.core.handlers.asgi"),
    *("django.contrib.admin", "django.contrib.messages", "django.contrib.staticfiles"),
    *("django.db.backends.sqlite3.base", "django.db.migrations.executor"),
)


class Process(Protocol):
    """A process that leads a process group."""

    pid: int

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs; a signal's is negative."""

    def wait(self, timeout: float) -> int:
        """Return its exit code; raise TimeoutExpired when it does not end in time."""

    def send_signal(self, sig: int, /) -> None:
        """Send it a signal, unless it has ended."""


class Forked:
    """A fork of the process that has imported the libraries."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        process.start()
        assert process.pid is not None
        self.pid = process.pid

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs; a signal's is negative."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Return its exit code; raise TimeoutExpired when it does not end in time."""
        self._process.join(timeout)
        if (code := self._process.exitcode) is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return code

    def send_signal(self, sig: int, /) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)


def fork(
    words: tuple[str, ...], environment: Mapping[str, str], *, stdin: str, out: Path, err: Path
) -> Forked:
    """Run Python with these arguments, a file's or -c; what it writes is appended to the files."""
    given = (words, dict(environment), stdin, out, err)
    name = " ".join(words)
    # A daemon: one that a test has left does not keep the tests from ending.
    return Forked(_libraries().Process(target=_python, args=given, name=name, daemon=True))


@cache
def _libraries() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*LIBRARIES])
    return context


def _python(
    words: tuple[str, ...], environment: dict[str, str], stdin: str, out: Path, err: Path
) -> None:
    """Become a new process of Python: what that has from its parent, and then its program."""
    os.setsid()
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    for stream, file in ((sys.stdout, out), (sys.stderr, err)):
        with file.open("ab") as opened:
            os.dup2(opened.fileno(), stream.fileno())
    sys.stdin = io.StringIO(stdin)
    sys.path[0] = str(ROOT)
    if words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        exec(words[1], {"__name__": "__main__"})  # noqa: S102 - as -c does
    else:
        sys.argv = [*words]
        runpy.run_path(words[0], run_name="__main__")
