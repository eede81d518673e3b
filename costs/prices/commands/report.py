"""What a command that changes prices reports: lines of text, or one JSON object at its end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from django.core.management.base import OutputWrapper
from django.db import transaction

from costs.prices.book import load_price_book
from costs.prices.commands.texts import changes_as_text, difference_as_dict

PREVIEW: Final = "This is a preview: nothing was changed."
_SHOWN_MAX: Final = 20


class ChangeReport:
    """What a change does to the price list, `before` and `after` it.

    `facts` are the JSON object; text is written line by line instead.
    """

    def __init__(self, out: OutputWrapper, options: Mapping[str, Any]) -> None:
        self.is_preview: bool = options["preview"]
        self.is_json = options["format"] == "json"
        self.before = self.after = load_price_book()
        self.facts: dict[str, Any] = {"preview": self.is_preview, "changes": []}
        self._out = out

    def line(self, text: str) -> None:
        """Write a line, unless the output is JSON."""
        if not self.is_json:
            self._out.write(text)

    def end(self) -> None:
        """Write the facts as JSON, unless the output is text."""
        if self.is_json:
            self._out.write(json.dumps(self.facts, indent=2))

    def differences(self, models: Iterable[tuple[str, str]], at: datetime) -> list[tuple[str, str]]:
        """Add to the facts what differs at a moment, and return of which models."""
        changed = []
        for provider, model in models:
            old = self.before.rates_for([model], provider, at)
            new = self.after.rates_for([model], provider, at)
            if old != new:
                changed.append((provider, model))
                self.facts["changes"].append(difference_as_dict(provider, model, old, new, at=at))
        self.facts["has_exchange_rate"] = self.after.has_exchange_rate(at)
        return changed

    def compare(
        self, models: Iterable[tuple[str, str]], at: datetime, *, is_last: bool = True
    ) -> None:
        """Report what differs at a moment; as text, of at most _SHOWN_MAX models."""
        changed = self.differences(models, at)
        for text in changes_as_text(self.before, self.after, changed[:_SHOWN_MAX], at):
            self.line(text)
        if len(changed) > _SHOWN_MAX:
            self.line(f"{len(changed) - _SHOWN_MAX} more models change.")
        if not changed and self.after.has_exchange_rate(at):
            self.line("No price in the list changes.")
        if self.is_preview and is_last:
            self.line(PREVIEW)


@contextmanager
def compared(out: OutputWrapper, options: Mapping[str, Any]) -> Iterator[ChangeReport]:
    """Make a change, or try it out: read the list before and after it."""
    with transaction.atomic():
        report = ChangeReport(out, options)
        yield report
        report.after = load_price_book()
        if report.is_preview:
            transaction.set_rollback(True)
