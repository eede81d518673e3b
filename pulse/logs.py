"""The log of this process."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Final

LINES_A_MINUTE_MAX: Final = 60


class FewAMinute(logging.Filter):
    """Lets LINES_A_MINUTE_MAX lines a minute through, of those that strangers can cause.

    What an operator must see is not among those: errors of pages (500 and above) always pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self._minute = self._lines = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write the record; the last one of its minute says so."""
        if getattr(record, "status_code", 0) >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return True
        minute = int(record.created // 60)
        if minute != self._minute:
            self._minute, self._lines = minute, 0
        self._lines += 1
        if self._lines == LINES_A_MINUTE_MAX:
            record.msg = f"{record.getMessage()} (no more such lines in this minute)"
            record.args = None
        return self._lines <= LINES_A_MINUTE_MAX
