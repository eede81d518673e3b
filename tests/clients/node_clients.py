"""Node clients: installed once from their lock file, each run as a process."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.system.processes import ROOT
from tests.system.servers import clean_environment

SCRIPTS: Final = Path(__file__).parent / "node"
CACHE: Final = ROOT / "var" / "node-clients"
INSTALL_MAX_S: Final = 180
RUN_MAX_S: Final = 300


def installed(scripts: Path = SCRIPTS) -> Path:
    """Return a folder with the scripts and their packages; skip if npm cannot install them.

    The folder is named after what is locked and stays, so that npm works once for each lock file.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node and npm are not found")
    lock = (scripts / "package-lock.json").read_bytes()
    folder = CACHE / f"{scripts.name}-{hashlib.sha256(lock).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    for file in [*scripts.iterdir()]:
        if file.is_file():
            shutil.copy(file, folder)
    if not (folder / "complete").exists():
        _install(npm, folder)
    return folder


def _install(npm: str, folder: Path) -> None:
    try:
        done = subprocess.run(
            [npm, "ci", "--no-audit", "--no-fund", "--no-progress"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=INSTALL_MAX_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm could not install the clients for Node in time")
    if done.returncode:
        pytest.skip("npm could not install the clients for Node (is a registry within reach?)")
    (folder / "complete").touch()


def run(folder: Path, script: str, **given: Any) -> dict[str, Any]:
    """Run a script with arguments and return the JSON that it prints."""
    done = subprocess.run(
        ["node", script, json.dumps(given)],  # noqa: S607 - the user's own Node
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=RUN_MAX_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen
