"""A terminal for a program: tmux, which draws the screen and answers as terminals do."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

WIDTH: Final = 240  # our sentences fit in a line
HEIGHT: Final = 50
WAIT_MAX_S: Final = 120.0
LOOK_S: Final = 0.2
REACTS_IN_LOOKS: Final = 10
# What agents draw around a text, and between its lines where they break them.
_DRAWN: Final = re.compile(r"[\s\u2500-\u259f\u2800-\u28ff|>*•●⎿]+")


def plain(text: str) -> str:
    """Return a text without frames, with single spaces; some agents show an error as JSON."""
    return _DRAWN.sub(" ", text.replace('\\"', '"')).strip()


def shows(text: str) -> Callable[[str], bool]:
    """Return whether a screen without frames has a text."""
    return lambda seen: plain(text) in seen


class Terminal:
    """A program that runs in a window of its own; close it."""

    def __init__(self, words: Sequence[str], *, folder: Path, environment: Mapping[str, str]):
        self._folder = tempfile.TemporaryDirectory(prefix="pulse-")  # a socket's path is short
        self._environment = {**environment, "TERM": "xterm-256color"}
        self._tmux(
            *("start-server", ";", "set", "-g", "default-terminal", "xterm-256color", ";"),
            *("set", "-g", "remain-on-exit", "on", ";", "set", "-g", "status", "off", ";"),
            *("new-session", "-d", "-x", str(WIDTH), "-y", str(HEIGHT), "-c", str(folder)),
            *words,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        program = int(self._tmux("display-message", "-p", "#{pane_pid}"))
        self._tmux("kill-server")
        with suppress(ProcessLookupError):
            os.killpg(program, signal.SIGKILL)  # some go on without their terminal
        self._folder.cleanup()

    def screen(self) -> str:
        """Return what the person sees."""
        return self._tmux("capture-pane", "-p", "-J")

    def write(self, text: str) -> None:
        """Type a text: again from the start where the program did not take it yet."""
        deadline = time.monotonic() + WAIT_MAX_S
        while plain(text) not in plain(self.screen()):
            assert time.monotonic() < deadline, f"cannot be typed: {text}\n{self.screen()}"
            before = self.screen()
            self._tmux("send-keys", "C-u")
            self._tmux("send-keys", "-l", text)
            self._wait_for_change(before)
            time.sleep(LOOK_S)

    def press(self, key: str) -> None:
        """Press a key, by tmux's name."""
        self._tmux("send-keys", key)

    def wait_for(self, text: str) -> None:
        """Wait until a text is on the screen, whatever frame is around it."""
        self.wait_until(shows(text))

    def wait_until(self, is_there: Callable[[str], bool]) -> None:
        """Wait until the screen, without frames, is as it should be."""
        self.steer({}, until=is_there)

    def steer(self, keys: Mapping[str, str], *, until: Callable[[str], bool]) -> None:
        """Press the key of a text whenever that text is on the screen, until this is as it should.

        A key that comes too early is lost, so it is pressed again where the screen stays the same.
        """
        deadline = time.monotonic() + WAIT_MAX_S
        while not until(seen := plain(screen := self.screen())):
            assert time.monotonic() < deadline, f"the screen stays so:\n{screen}"
            if key := next((key for text, key in keys.items() if plain(text) in seen), None):
                self.press(key)
                self._wait_for_change(screen)
            time.sleep(LOOK_S)

    def _wait_for_change(self, screen: str) -> None:
        for _ in range(REACTS_IN_LOOKS):
            if self.screen() != screen:
                return
            time.sleep(LOOK_S)

    def _tmux(self, *words: str) -> str:
        return subprocess.run(
            ["tmux", "-S", f"{self._folder.name}/socket", "-f", "/dev/null", *words],  # noqa: S607 - the user's own
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=WAIT_MAX_S,
        ).stdout
