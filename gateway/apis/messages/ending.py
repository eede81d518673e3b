"""End a stream of a message with the stop reason `max_tokens`.

https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

from gateway.apis.endings import Value


class MessagesEnding:
    """The ending of a message: its blocks come one after the other."""

    after = b""

    def __init__(self) -> None:
        self._open: object = None

    def follow(self, event: Value) -> None:
        """Read one event."""
        kind = event.get("type")
        if kind == "content_block_start":
            self._open = event.get("index")
        elif kind == "content_block_stop":
            self._open = None

    def events(self, *, input_tokens: int, output_tokens: int) -> list[Value]:
        """Return the end of an open block, and that of the message."""
        ended = [] if self._open is None else [{"type": "content_block_stop", "index": self._open}]
        return [
            *ended,
            {
                "type": "message_delta",
                "delta": {"stop_reason": "max_tokens", "stop_sequence": None},
                "usage": {"output_tokens": output_tokens},
            },
            {"type": "message_stop"},
        ]
