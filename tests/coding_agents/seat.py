"""An agent at work: in a project folder and a home of its own, with nothing else of this machine.

Its environment is empty but for what is listed here and in its own file. Requests to anywhere but
loopback go to a proxy that is not there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.coding_agents.agent import Agent, Gateway
from tests.coding_agents.terminal import Terminal, plain, shows
from tests.fake_provider import closed_port

RUN_MAX_S: Final = 90.0
INTERRUPTED_S: Final = 5.0

REPOSITORY: Final = (
    ("init", "-q", "-b", "main"),
    ("remote", "add", "origin", "https://git.example.org/acme/project.git"),
    ("add", "README.md"),
    ("-c", "user.name=Acme", "-c", "user.email=acme@example.org", "commit", "-q", "-m", "Begin"),
)


@dataclass(frozen=True, slots=True)
class Seat:
    """Where an agent runs: `programs` has its command, `place` its home and its project."""

    agent: Agent
    gateway: Gateway
    programs: Path
    place: Path

    @property
    def project(self) -> Path:
        """The folder that the agent works in."""
        return self.place / "project"

    def prepare(self) -> None:
        """Make the home folder with the agent's files, and the project, a repository."""
        self.project.mkdir(parents=True)
        (self.project / "README.md").write_text("# A project\n")
        for words in REPOSITORY:
            subprocess.run(["git", *words], cwd=self.project, check=True)  # noqa: S607
        for name, text in self.agent.files(self.gateway).items():
            file = self.place / "home" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (self.place / "home").mkdir(exist_ok=True)

    def environment(self) -> dict[str, str]:
        """Return all of the agent's environment."""
        nowhere = f"http://127.0.0.1:{closed_port()}"
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.place / "home"),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "HTTP_PROXY": nowhere,
            "HTTPS_PROXY": nowhere,
            "NO_PROXY": "127.0.0.1,localhost",
            **self.agent.environment(self.gateway),
        }

    def start(self, words: Sequence[str]) -> subprocess.Popen[str]:
        """Start a command line of the agent; what it prints is all on its standard output."""
        return subprocess.Popen(
            [str(self.programs / self.agent.program), *words],
            cwd=self.project,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, words: Sequence[str]) -> str:
        """Run a command line of the agent and return what it prints, without frames."""
        return self.printed(self.start(words))

    def printed(self, process: subprocess.Popen[str]) -> str:
        """Return what a command prints up to its end. Fails if it does not end by itself."""
        try:
            return plain(process.communicate(timeout=RUN_MAX_S)[0])
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            raise AssertionError(f"{self.agent.page} did not end:\n{output}") from None

    def interrupt(self, process: subprocess.Popen[str]) -> None:
        """Press Ctrl+C, again where the command does not end: one may come too early."""
        deadline = time.monotonic() + RUN_MAX_S
        while process.poll() is None and time.monotonic() < deadline:
            os.killpg(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(INTERRUPTED_S)
        self.printed(process)

    @contextmanager
    def window(self) -> Iterator[Terminal]:
        """Open the agent's window, answer what a new one asks, and wait until it is ready."""
        words = [str(self.programs / self.agent.program), *self.agent.window]
        with Terminal(words, folder=self.project, environment=self.environment()) as terminal:
            terminal.steer(self.agent.opening, until=shows(self.agent.ready))
            yield terminal
