"""The agents as npm installs them: the versions that were last seen to work, or the newest."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.clients.node_clients import CACHE

# The one place that names the versions; docs/clients and the README repeat them.
SEEN: Final = Path(__file__).parent / "package.json"
INSTALL_MAX_S: Final = 600


def versions_seen() -> dict[str, str]:
    """Return the versions that were last seen to work, by package."""
    seen: dict[str, str] = json.loads(SEEN.read_text())["dependencies"]
    return seen


def installed(*, newest: bool) -> Path:
    """Return a folder of programs. It stays; the newest are installed again each time."""
    npm = shutil.which("npm")
    assert npm is not None, "the coding agents need Node and npm"
    wanted = {name: "latest" if newest else version for name, version in versions_seen().items()}
    folder = CACHE / ("coding-agents-newest" if newest else "coding-agents")
    complete, text = folder / "complete", json.dumps(wanted)
    if newest or not complete.exists() or complete.read_text() != text:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": wanted}))
        _install(npm, folder)
        complete.write_text(text)
    return folder / "node_modules" / ".bin"


def _install(npm: str, folder: Path) -> None:
    """Install without a lock file: it would name the packages of one platform only."""
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--no-progress", "--no-package-lock"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=INSTALL_MAX_S,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"npm could not install the coding agents:\n{done.stderr}")
