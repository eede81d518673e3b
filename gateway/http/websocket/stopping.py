"""The message of a server that stops to the application, which Uvicorn has none for."""

from __future__ import annotations

from typing import Final

STOPPING: Final = "pulse.stopping"
