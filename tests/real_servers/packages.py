"""An environment of its own for servers that others wrote: the versions seen to work, or newer."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.system.processes import ROOT
from tests.system.servers import clean_environment

SEEN: Final = Path(__file__).with_name("requirements.txt")
CACHE: Final = ROOT / "var" / "real-servers"
INSTALL_MAX_S: Final = 600


def installed(*, newest: bool) -> Path:
    """Return a Python that has the packages; skip where they cannot be had.

    The environment stays, named after what is in it; the newest packages are looked up each time.
    """
    digest = hashlib.sha256(SEEN.read_bytes()).hexdigest()[:16]
    folder = CACHE / ("newest" if newest else digest)
    python = folder / "bin" / "python"
    if newest or not (folder / "complete").exists():
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        _run(str(python), "-m", "pip", "install", "-qq", "--no-input", *_packages(newest=newest))
        (folder / "complete").touch()
    return python


def _packages(*, newest: bool) -> list[str]:
    lines = SEEN.read_text().splitlines()
    names = [line.partition("==")[0] for line in lines if not line.startswith("#")]
    return names if newest else ["--requirement", str(SEEN)]


def _run(*command: str) -> None:
    try:
        done = subprocess.run(
            command,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=INSTALL_MAX_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("pip could not install llama.cpp in time")
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        pytest.skip(f"pip could not install llama.cpp: {' '.join(last)}")
