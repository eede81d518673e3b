"""End a stream of generateContent with the finish reason `MAX_TOKENS`.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from gateway.apis.endings import Value


class GenerateEnding:
    """The ending of a stream of one candidate, with the usage that was reported last."""

    after = b""

    def __init__(self) -> None:
        self._last: Value = {}

    def follow(self, event: Value) -> None:
        """Read one chunk."""
        self._last = event

    def events(self, *, input_tokens: int, output_tokens: int) -> list[Value]:
        """Return the last chunk."""
        content = {"parts": [{"text": ""}], "role": "model"}
        candidate = {"content": content, "finishReason": "MAX_TOKENS", "index": 0}
        return [{**self._last, "candidates": [candidate]}]
