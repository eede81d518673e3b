"""The log of this process."""

from __future__ import annotations

import logging
from typing import Final

LINES_A_MINUTE_MAX: Final = 60


class FewAMinute(logging.Filter):
    """Lets LINES_A_MINUTE_MAX lines a minute through, of those that strangers can cause."""

    def __init__(self) -> None:
        super().__init__()
        self._minute = self._lines = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write the record; the last one of its minute says so."""
        minute = int(record.created // 60)
        if minute != self._minute:
            self._minute, self._lines = minute, 0
        self._lines += 1
        if self._lines == LINES_A_MINUTE_MAX:
            record.msg = f"{record.getMessage()} (no more such lines in this minute)"
            record.args = None
        return self._lines <= LINES_A_MINUTE_MAX
