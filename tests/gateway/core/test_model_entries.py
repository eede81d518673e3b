"""Which entries of a policy or a budget match which models, and how often a name is searched."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.model_entries import (
    ENTRIES_MAX,
    ORGANIZATION_WILDCARDS_MAX,
    STARS_MAX,
    WILDCARD_ENTRIES_MAX,
    ComparedNames,
    compared,
    fault_in,
    fault_in_total,
    model_entries,
)
from gateway.core.model_names import NAME_MAX_CHARS, Catalog, Model, undated
from gateway.providers.catalog import load_catalog
from orgs.fields import new_id

CATALOG = load_catalog(True)
NO_VENDORS = Catalog({}, {})


def model(name: str) -> Model:
    found = CATALOG.find(name)
    assert found is not None, name
    return found


def matches(entry: str, *names: str) -> bool:
    return model_entries(NO_VENDORS, [entry]).matches(compared(names))


def means(entry: str, name: str) -> bool:
    return model_entries(CATALOG, [entry]).matches(compared(model(name).names))


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("gpt-4", "gpt-4"),
        (" GPT-4 ", "gpt-4"),
        ("openai/gpt-4", "gpt-4"),
        ("gpt-4", "gpt-4-0613"),
        ("gpt-4-0613", "gpt-4"),  # what gpt-4 stands for
        ("openai/gpt-4-0613", "gpt-4"),
        ("claude-3-5-sonnet", "claude-3.5-sonnet"),
        ("claude-3.5-sonnet", "claude-3-5-sonnet-20241022"),
        ("claude-3.5-sonnet", "claude-3-5-sonnet-20240620"),
        ("claude-3-5-sonnet-20241022", "claude-3-5-sonnet-latest"),
        ("claude-3-5-sonnet-latest", "claude-3-5-sonnet"),
        ("anthropic/claude-3.5-sonnet", "claude-3-5-sonnet@20240620"),
        ("models/gemini-pro", "gemini-pro"),
        ("gemini-1.0-pro", "gemini-pro"),
        ("gemini-2.5-flash-preview", "gemini-2.5-flash-preview-09-2025"),
        ("gemini-2.5-pro-preview", "gemini-2.5-pro-preview-05-06"),
        ("mistral-large", "mistral-large-latest"),
        ("mistral-small-2603", "mistral-small-latest"),
        ("*", "gpt-4"),
        ("gpt-*", "gpt-4o"),
        ("*sonnet*", "claude-3-5-sonnet"),
        ("openai/*", "gpt-4"),
        ("gemini/*", "gemini-2.5-pro"),
        ("Gemini/gemini-2.5-pro", "gemini-2.5-pro"),
        ("vertex_ai/*", "gemini-2.5-pro"),
        ("vertex_ai/gemini-2.5-*", "gemini-2.5-pro"),
        ("vertex_ai/claude-3-opus", "claude-3-opus"),
        ("mistralai/mistral-large", "mistral-large-latest"),
        ("mistralai/*", "mistral-large-latest"),
        ("ft:gpt-4o-mini*", "ft:gpt-4o-mini-2024-07-18:Acme::AbCd"),
        ("ft:gpt-4o-mini-2024-07-18:Acme::AbCd", "ft:gpt-4o-mini-2024-07-18:acme::abcd"),
    ],
)
def test_entry_matches(entry: str, name: str) -> None:
    assert means(entry, name)


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("gpt-4", "gpt-4o"),
        ("gpt-4", "gpt-4-turbo"),
        ("gpt-4", "gpt-4-turbo-2024-04-09"),
        ("gpt-4", "gpt-4.1"),
        ("gpt-4", "gpt-4-32k"),
        ("gpt-4o", "gpt-4"),
        ("gpt-4o", "gpt-4o-mini"),
        ("gpt-4-0314", "gpt-4"),
        ("gpt-4o-2024-05-13", "gpt-4o"),
        ("claude-3-5-sonnet-20240620", "claude-3-5-sonnet"),
        ("anthropic/gpt-4", "gpt-4"),
        ("anthropic/*", "gpt-4"),
        ("openai/*", "claude-3-opus"),
        ("gemini/*", "gpt-4"),
        ("gemini/gpt-4", "gpt-4"),
        ("models/*", "gpt-4"),
        ("vertex_ai/*", "gpt-4"),
        ("mistralai/*", "gpt-4"),
        ("o*", "gpt-4"),  # the provider's name is no part of the model's
        ("gpt-?", "gpt-4"),
        ("gpt-[4]", "gpt-4"),
        ("", "gpt-4"),
    ],
)
def test_entry_does_not_match(entry: str, name: str) -> None:
    assert not means(entry, name)


def test_snapshot_entry_blocks_but_does_not_allow_its_floating_name() -> None:
    floating = model("gpt-4")
    assert matches("gpt-4-0613", *floating.names)
    assert not matches("gpt-4-0613", *floating.own_names)
    assert matches("gpt-4", *floating.own_names)
    assert matches("claude-3.5-sonnet", *model("claude-3-5-sonnet-latest").own_names)


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("gpt-4o-mini", "ft:gpt-4o-mini:acme::abc"),
        ("gpt-4o-mini", "ft:gpt-4o-mini-2024-07-18:Acme:tickets:AbC"),
        ("GPT-4o-mini", "openai/ft:gpt-4o-mini-2024-07-18:acme::abc:ckpt-step-88"),
        ("openai/gpt-4o-mini", "ft:gpt-4o-mini-2024-07-18:acme::abc"),
        ("gpt-4o-mini-2024-07-18", "ft:gpt-4o-mini-2024-07-18:acme::abc"),
        ("gpt-4o-mini-2024-07-18", "ft:gpt-4o-mini:acme::abc"),  # what gpt-4o-mini stands for
        ("gpt-4o-*", "ft:gpt-4o-mini-2024-07-18:acme::abc"),
        ("*-mini", "ft:gpt-4o-mini:acme::abc"),
        ("openai/gpt-*", "ft:gpt-4o-mini:acme::abc"),
        ("gpt-99", "ft:gpt-99-2027-01-01:acme::abc"),
        ("gpt-5.6", "ft:gpt-5.6-sol:acme::abc"),  # its alias
        ("open-mistral-7b", "ft:open-mistral-7b:daf5e488:20240430:c1bed559"),
        ("mistralai/open-mistral-7b", "ft:open-mistral-7b:daf5e488:20240430:c1bed559"),
    ],
)
def test_entry_blocks_and_counts_fine_tunes_but_does_not_allow_them(entry: str, name: str) -> None:
    """https://developers.openai.com/api/docs/guides/supervised-fine-tuning (their names)"""
    fine_tuned, listed = model(name), model_entries(CATALOG, [entry])
    assert listed.matches(compared(fine_tuned.names))
    assert not listed.matches(compared(fine_tuned.own_names))


@pytest.mark.parametrize(
    ("entry", "is_matched"),
    [
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", True),
        ("openai/ft:gpt-4o-mini-2024-07-18:acme::abc", True),
        ("ft:*", True),
        ("ft:gpt-4o-mini*", True),
        ("openai/ft:*", True),
        ("*", True),
        ("openai/*", True),
        ("ft:gpt-4o-2024*", False),
        ("ft:gpt-4o-mini-2024-07-18:globex::*", False),
        ("gpt-4o-mini-2024-01-01", False),
        ("gpt-4o", False),
        ("gpt-4", False),
    ],
)
def test_fine_tune_is_allowed_by_name_and_wildcard(entry: str, is_matched: bool) -> None:
    fine_tuned, listed = model("ft:gpt-4o-mini-2024-07-18:acme::abc"), [entry]
    assert model_entries(CATALOG, listed).matches(compared(fine_tuned.own_names)) is is_matched
    assert model_entries(CATALOG, listed).matches(compared(fine_tuned.names)) is is_matched


def test_fine_tune_entry_matches_not_its_base() -> None:
    assert not means("ft:gpt-4o-mini:acme::abc", "gpt-4o-mini")
    assert not means("ft:*", "gpt-4o-mini")


def test_brackets_in_entry_are_literal() -> None:
    assert not matches("gpt-[4]*", "gpt-4o")
    assert matches("gpt-[4]*", "gpt-[4]o")


def test_empty_list_matches_nothing() -> None:
    nothing = model_entries(CATALOG, [])
    assert not nothing
    assert not nothing.matches(compared(("gpt-4",)))


@given(st.text(max_size=30))
def test_any_name_is_matched_by_itself_or_unknown(name: str) -> None:
    found = CATALOG.find(name)
    assert found is None or means(name, name)


UNDATED = sorted(name for name in CATALOG.by_name if undated(name) == name)


@given(st.sampled_from(UNDATED), st.sampled_from(["", "-0613", "@20240229", "-2024-07-18"]))
def test_model_name_as_entry_matches_model(name: str, date: str) -> None:
    spelled = name + date
    assert means(spelled, spelled)
    assert means(f"{model(spelled).provider}/{spelled}", spelled.upper())
    assert means(name, spelled)


# --- wildcards --------------------------------------------------------------------------------


def as_expression(entry: str) -> str:
    return ".*".join(re.escape(part) for part in entry.split("*"))


@given(st.text("ab-/*", min_size=1, max_size=8), st.text("ab-/", min_size=1, max_size=8))
def test_wildcard_matches_what_regular_expression_does(entry: str, name: str) -> None:
    entry = entry if "*" in entry else f"{entry}*"
    is_of_kind = not entry.strip("*") or ("/" in entry) == ("/" in name)
    expected = re.fullmatch(as_expression(entry), name) and is_of_kind
    assert matches(entry, name) == bool(expected)


def test_every_short_wildcard_matches_what_regular_expression_does() -> None:
    for entry in map("".join, product("ab*", repeat=5)):
        for name in map("".join, product("ab", repeat=4)):
            if "*" in entry:
                assert matches(entry, name) == bool(re.fullmatch(as_expression(entry), name))


class Searched(str):
    """A name that keeps from where to where it was searched."""

    __slots__ = ("searches",)
    searches: list[tuple[int, int]]

    def find(self, part: str, start: Any = 0, end: Any = None) -> int:
        """Find a part, as a string does."""
        found = super().find(part, start, end)
        self.searches.append((start, len(self) if found < 0 else found + len(part)))
        return found


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("a*" * 9 + "c*", "a" * 20),
        ("*a" * 9 + "*c*", "a" * 20),
        ("*aab" * 5 + "*c*", "aab" * 8),
        ("*" * 19 + "b*", "a" * 20),
    ],
)
def test_name_is_searched_once_from_left_to_right(entry: str, name: str) -> None:
    searched = Searched(name)
    searched.searches = []
    names = ComparedNames(frozenset(), (searched,))

    assert not model_entries(NO_VENDORS, [entry]).matches(names)
    # Each search begins where the last one ended: together they are as long as the name.
    begun, ended = zip(*searched.searches, strict=True)
    assert begun[1:] == ended[:-1]
    assert ended[-1] == len(name)


# --- bounds -----------------------------------------------------------------------------------


def test_list_within_all_bounds_has_no_fault() -> None:
    plain = [f"gpt-{n}" for n in range(ENTRIES_MAX - WILDCARD_ENTRIES_MAX - 1)]
    wild = [f"gpt-{n}*" for n in range(WILDCARD_ENTRIES_MAX - 1)]
    longest = "a" * NAME_MAX_CHARS
    assert fault_in([*plain, *wild, "a*" * STARS_MAX, longest]) is None


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        (["a" * 201], f'"{"a" * 40}…" must have at most 200 characters, not 201.'),
        (["gpt 4"], '"gpt 4" is not a valid model name.'),
        (["a*" * 11], f'"{"a*" * 11}" must have at most 10 wildcards (*), not 11.'),
        ([f"a{n}" for n in range(201)], "A list can have at most 200 names, not 201."),
        ([f"a{n}*" for n in range(51)], "A list can have at most 50 names with *, not 51."),
    ],
)
def test_list_above_bound_has_fault(entries: list[str], sentence: str) -> None:
    assert fault_in(entries) == sentence


def test_organization_has_bound_of_wildcards() -> None:
    one, other = new_id(), new_id()
    counts = {one: 10, other: ORGANIZATION_WILDCARDS_MAX - 20}
    assert fault_in_total(10, counts) is None
    assert fault_in_total(11, counts) == "All lists together can have at most 1000 names with *"
    assert fault_in_total(20, counts, instead_of=one) is None
    assert fault_in_total(21, counts, instead_of=one) is not None


def test_row_above_bound_can_be_saved_with_no_more_wildcards() -> None:
    row = new_id()
    counts = {row: ORGANIZATION_WILDCARDS_MAX + 5}
    assert fault_in_total(ORGANIZATION_WILDCARDS_MAX + 5, counts, instead_of=row) is None
    assert fault_in_total(ORGANIZATION_WILDCARDS_MAX + 6, counts, instead_of=row) is not None
