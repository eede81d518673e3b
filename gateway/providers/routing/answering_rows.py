"""Which row has answered a conversation: what it made is readable there alone."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

# Of one process: 3 MB. One that is forgotten goes where its rows' weights send it, as before.
REMEMBERED_MAX: Final = 10_000


class AnsweringRows:
    """The rows that last answered conversations, by what identifies these; the newest ones."""

    def __init__(self) -> None:
        self._rows: OrderedDict[str, str] = OrderedDict()

    def row_of(self, conversation: str | None) -> str | None:
        """Return the name of the row that last answered a conversation, or None."""
        return None if conversation is None else self._rows.get(conversation)

    def answered(self, conversation: str, row: str) -> None:
        """Remember which row answered a conversation."""
        self._rows[conversation] = row
        self._rows.move_to_end(conversation)
        if len(self._rows) > REMEMBERED_MAX:
            self._rows.popitem(last=False)
