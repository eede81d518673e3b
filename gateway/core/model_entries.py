"""Match lists of model entries, as policies and budgets have them, with models' names.

An entry matches its own name, that name's dated snapshots and its `-latest`, and nothing else;
`*` stands for any characters. Where the names are those by which a model is blocked
(`Model.names`), an entry of a model matches what was fine-tuned from it, too. `region:eu` matches
the models of the providers that have the tag `eu`.

No pattern is compiled and nothing is tried again: a name is looked up in a set, and the parts of an
entry between its `*` are searched once from left to right. So no list takes longer than its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from uuid import UUID

from costs.core.model_names import DATE
from gateway.core.model_names import NAME_MAX_CHARS, REGION, Catalog

ENTRIES_MAX: Final = 200  # of one list
WILDCARD_ENTRIES_MAX: Final = 50  # of one list: these are searched one by one
STARS_MAX: Final = 10  # of one entry
# Of all policies of an organization, and of all its budgets: a caller chooses the model's name,
# and a new one is compared with all of them, in about a microsecond each.
ORGANIZATION_WILDCARDS_MAX: Final = 1_000
WILDCARD: Final = "*"
QUOTED_MAX_CHARS: Final = 40
NAMES_REMEMBERED: Final = 4_096

_ENTRY: Final = re.compile(r"[A-Za-z0-9*][A-Za-z0-9._:@/+*-]*")
_SNAPSHOT: Final = re.compile(DATE)
_DATE_MAX_CHARS: Final = len("-2024-07-18")
_DATE_SEPARATORS: Final = "-@"


@dataclass(frozen=True, slots=True)
class ComparedNames:
    """A model's names prepared for matching; `plain` also has the names that they are dates of."""

    plain: frozenset[str]
    spelled: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelEntries:
    """A list of entries prepared for matching: plain names, and the parts around each `*`."""

    plain: frozenset[str] = frozenset()
    wildcards: tuple[tuple[str, ...], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.plain or self.wildcards)

    def matches(self, names: ComparedNames) -> bool:
        """Whether an entry matches one of the names."""
        if not self.plain.isdisjoint(names.plain):
            return True
        return any(_matches(parts, name) for parts in self.wildcards for name in names.spelled)


NO_ENTRIES: Final = ModelEntries()


def model_entries(catalog: Catalog, texts: Iterable[str]) -> ModelEntries:
    """Return a list of entries, as typed, prepared for matching."""
    plain: set[str] = set()
    wildcards: dict[tuple[str, ...], None] = {}
    for entry in map(catalog.entry, texts):
        if WILDCARD in entry:
            first, *middle, last = entry.split(WILDCARD)
            wildcards[first, *filter(None, middle), last] = None
        else:
            plain.add(entry)
    return ModelEntries(frozenset(plain), tuple(wildcards))


@lru_cache(maxsize=NAMES_REMEMBERED)
def compared(names: tuple[str, ...]) -> ComparedNames:
    """Return names (`Model.names`) prepared for matching."""
    return ComparedNames(frozenset(base for name in names for base in _bases(name)), names)


def fault_in(entries: Sequence[str]) -> str | None:
    """Return why a list of entries, as typed, cannot be saved, or None."""
    if len(entries) > ENTRIES_MAX:
        return f"A list can have at most {ENTRIES_MAX} names, not {len(entries)}."
    for entry in entries:
        if (fault := _fault_in_entry(entry)) is not None:
            return fault
    if (count := wildcards_in(entries)) > WILDCARD_ENTRIES_MAX:
        return f"A list can have at most {WILDCARD_ENTRIES_MAX} names with *, not {count}."
    return None


def wildcards_in(*lists: Iterable[str]) -> int:
    """Return how many entries of the lists have a wildcard."""
    return sum(WILDCARD in entry for entries in lists for entry in entries)


def fault_in_total(
    count: int, of_each: Mapping[UUID, int], *, instead_of: UUID | None = None
) -> str | None:
    """Return why a row with `count` entries with a wildcard cannot join the others, or None.

    `of_each` are the organization's counts by row. A row that has no more of them than before can
    always be saved: what was there before the limit was stays.
    """
    others = sum(each for row_id, each in of_each.items() if row_id != instead_of)
    before = 0 if instead_of is None else of_each.get(instead_of, 0)
    if count <= before or count + others <= ORGANIZATION_WILDCARDS_MAX:
        return None
    return f"All lists together can have at most {ORGANIZATION_WILDCARDS_MAX} names with *"


def _fault_in_entry(entry: str) -> str | None:
    if len(entry) > NAME_MAX_CHARS:
        shown = entry[:QUOTED_MAX_CHARS]
        return f'"{shown}…" must have at most {NAME_MAX_CHARS} characters, not {len(entry)}.'
    if not _ENTRY.fullmatch(entry):
        return f'"{entry}" is not a valid model name.'
    if (stars := entry.count(WILDCARD)) > STARS_MAX:
        return f'"{entry}" must have at most {STARS_MAX} wildcards (*), not {stars}.'
    return None


def _bases(name: str) -> Iterable[str]:
    """Yield the name, and every name that it is a dated snapshot of."""
    yield name
    if name.startswith(REGION):
        return
    for place in range(max(1, len(name) - _DATE_MAX_CHARS), len(name)):
        # Without the first condition these were a third of what a new name costs.
        if name[place] in _DATE_SEPARATORS and _SNAPSHOT.fullmatch(name, place):
            yield name[:place]


def _matches(parts: tuple[str, ...], name: str) -> bool:
    """Whether the parts follow each other in the name, the first at its start, the last at its end.

    Each part is taken where it is found first: a later place leaves less for those after it. An
    entry with a provider's prefix is compared only with names that have one, and regions only with
    entries of regions.
    """
    first, *middle, last = parts
    if name.startswith(REGION) and not first.startswith(REGION):
        return False
    if not any(parts):  # `*` alone is all models, whatever their names
        return True
    place, end = len(first), len(name) - len(last)
    if end < place or not (name.startswith(first) and name.endswith(last)):
        return False
    for part in middle:
        found = name.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return ("/" in name) == any("/" in part for part in parts)
