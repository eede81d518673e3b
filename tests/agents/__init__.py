"""Requests of coding agents as they sent them: fields, types, tools, schemas, headers and sizes are
theirs, each text and id is replaced by filler.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Shape:
    """One request of an agent."""

    headers: dict[str, str]
    text: str

    @property
    def body(self) -> dict[str, Any]:
        """The body, a new one each time."""
        body: dict[str, Any] = json.loads(self.text)
        return body


@cache
def shape(name: str) -> Shape:
    """Return a recorded request by the name of its file."""
    recorded = json.loads((_FOLDER / f"{name}.json").read_text())
    return Shape(headers=recorded["headers"], text=json.dumps(recorded["body"]))
