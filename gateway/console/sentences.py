"""Lists of names in sentences, and entries that match no known model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from gateway.core.model_names import Catalog, entry_matches, undated

NAMES_IN_A_SENTENCE: Final = 4


def names_of_no_model(entries: Iterable[str], catalog: Catalog) -> list[str]:
    """Return the entries that mean no model in the catalog: perhaps a slip, perhaps a new model."""
    names = {name for model in catalog.by_name.values() for name in model.names}
    return [entry for entry in entries if not _means_one(entry, names, catalog)]


def _means_one(entry: str, names: Iterable[str], catalog: Catalog) -> bool:
    # The catalog lists no model's every snapshot, but a date makes no unknown model of a known one.
    if undated(catalog.bare(entry)) in catalog.by_name:
        return True
    return any(entry_matches(catalog.entry(entry), name) for name in names)


def listed(names: Sequence[str], most: int = NAMES_IN_A_SENTENCE) -> str:
    """Return the names as a sentence has them, the first few of many."""
    shown, more = names[:most], len(names) - most
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    *first, last = shown
    return f"{', '.join(first)} and {last}" if first else last
