"""End a stream of chat completions with the finish reason `length`.

https://developers.openai.com/api/reference/resources/chat
"""

from __future__ import annotations

from typing import Any

from gateway.apis.endings import Value

_NOT_OF_HEAD = frozenset({"choices", "usage", "obfuscation", "p"})


class ChatEnding:
    """The ending of a stream of one choice. A provider without a usage at its end reports none."""

    after = b"data: [DONE]\n\n"

    def __init__(self) -> None:
        self._last: Value = {}

    def follow(self, event: Value) -> None:
        """Read one chunk."""
        self._last = event

    def events(self, *, input_tokens: int, output_tokens: int) -> list[Value]:
        """Return the last chunk."""
        head = {name: part for name, part in self._last.items() if name not in _NOT_OF_HEAD}
        choice: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": "length"}
        return [{**head, "choices": [choice]}]
