"""llama.cpp's server as a process, with a model that always says the same."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path
from typing import Any, Final

from tests.system.servers import clean_environment

SCRIPT: Final = Path(__file__).with_name("tiny_model.py")
MODEL: Final = "tiny"
TEXT: Final = "Hello from a tiny model."
# Each word is a token, and so are the full stop and the end.
TEXT_TOKENS: Final = 7


class LlamaCpp:
    """The server: chat, responses, messages and embeddings below one base URL, with one key."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.key = f"sk-local-{secrets.token_hex(16)}"
        self._log = (folder / "llama.log").open("w")
        words = TEXT.removesuffix(".").split()
        self._process = subprocess.Popen(
            [str(python), str(SCRIPT), str(folder), self.key, *words],
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.origin = self._address()

    @property
    def base_url(self) -> str:
        """Return the base URL of OpenAI's client; Anthropic's takes `origin`."""
        return f"{self.origin}/v1"

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def _address(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("http"):
                return line.strip()
        raise AssertionError(f"llama.cpp did not start: {Path(self._log.name).read_text()}")


def weather_tool() -> Any:
    """Return a tool with few possible arguments, as a schema that the server enforces."""
    city = {"type": "string", "enum": ["Bonn", "Oslo"]}
    schema = {"type": "object", "properties": {"city": city}, "required": ["city"]}
    function = {"name": "weather", "parameters": schema | {"additionalProperties": False}}
    return {"type": "function", "function": function}
