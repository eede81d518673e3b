"""The tables of the simulation, in Markdown."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from benchmarks.simulation import load
from benchmarks.simulation.checks import at_once
from benchmarks.simulation.holds import AT_ONCE, LOWERED, WAYS, Way
from benchmarks.simulation.play import (
    Counts,
    MakeRules,
    Played,
    of_each_key,
    of_organization,
    played,
)
from benchmarks.simulation.prices import EUR, nanoeur, rates

WAITS_S: Final = (0, 5, 60, 600)  # 20 is in the other tables
WAIT_HEADS: Final = ("waited", "p50 s", "p90 s", "max s")
HEADS: Final = (
    *("", "refused", "early", *WAIT_HEADS, "cut"),
    *("hold / cost", "held", "at most", "spent", "left over", "passed"),
)
Day = Sequence[load.Developer]


def print_all(*, developers: int, seed: int) -> int:
    """Print all tables; return 1 if a limit was passed by a hold that covers the whole cost."""
    day = load.working_day(developers=developers, seed=seed)
    _print_day(day)
    _print_checks()
    spent = sum(each.cost_nanoeur for each in day)
    all_exact = True
    for title, rules, ways in (
        ("All together 1.2 x what the day costs", of_organization(spent * 12 // 10), WAYS[:1]),
        ("All together 1.0 x", of_organization(spent), WAYS),
        ("All together 0.7 x", of_organization(spent * 7 // 10), WAYS),
        ("Each key 30 USD", of_each_key(nanoeur(30)), WAYS),
        ("Each key 5 EUR", of_each_key(5 * EUR), WAYS),
    ):
        all_exact &= _print_ways(day, title, rules, ways)
    _print_waits(day, of_organization(spent))
    return 0 if all_exact else 1


def _print_ways(day: Day, title: str, rules: MakeRules, ways: Sequence[Way]) -> bool:
    """Print a limit in several ways. Return whether those that hold all costs kept it."""
    days = [(way, played(day, way, rules)) for way in ways]
    _print_table(title, HEADS, [(way.name, *_figures(over)) for way, over in days])
    return all(way.grows or over.ledger.passed_nanoeur <= 0 for way, over in days)


def _print_day(day: Day) -> None:
    turns = [turn for developer in day for turn in load.all_turns(developer)]
    usd = sorted(each.cost_nanoeur / EUR * float(rates().usd_per_eur) for each in day)
    read, written = (sum(getattr(turn, f"{name}_tokens") for turn in turns) for name in _CACHE)
    output = sorted(turn.output_tokens for turn in turns)
    below = sum(each < 30 for each in usd) / len(usd)
    sys.stdout.write(
        f"{len(day)} developers, {len(turns):,} turns, {sum(usd):.0f} USD: "
        f"{sum(usd) / len(usd):.1f} each, {below:.0%} below 30, at most {usd[-1]:.0f}\n"
        f"context {(read + written) / len(turns):,.0f} tokens, {read / (read + written):.0%} of "
        f"them read from the cache; output {sum(output) / len(output):,.0f}, "
        f"median {output[len(output) // 2]:,}, p99 {output[len(output) * 99 // 100]:,}\n"
    )


_CACHE: Final = ("read", "written")


def _print_checks() -> None:
    rows = []
    for title, eur, way, until_refused in (
        ("20 EUR, refused at once", 20, AT_ONCE, False),
        ("20 EUR, cap lowered, refused at once", 20, replace(LOWERED, wait_s=0), False),
        ("20 EUR, cap lowered, waits", 20, LOWERED, False),
        (
            "5 EUR, cap lowered, waits 600 s, until it is spent",
            5,
            replace(LOWERED, wait_s=600),
            True,
        ),
    ):
        over = at_once(eur * EUR, way, until_refused=until_refused)
        counts = over.counts
        rows.append(
            (
                title,
                f"{counts.turns - counts.refused}",
                f"{len(counts.waits_s)}",
                f"{max(counts.waits_s, default=0.0):.1f}",
                f"{over.seconds:.1f}",
                _eur(over.left_nanoeur),
                _eur(counts.lowest_hold_nanoeur or 0),
            )
        )
    heads = ("", "answered", "waited", "longest s", "all s", "left", "lowest hold")
    _print_table("30 turns of Claude Code at once", heads, rows)


def _print_waits(day: Day, rules: MakeRules) -> None:
    """Print what a shorter or longer wait would change."""
    rows = []
    for wait_s in WAITS_S:
        counts = played(day, replace(LOWERED, wait_s=wait_s), rules).counts
        refused = _percent(counts.refused, counts.turns)
        rows.append((f"{wait_s} s", refused, *_waits(counts)))
    _print_table(
        f"{LOWERED.name}: all together 1.0 x, by how long a call may wait",
        ("at most", "refused", *WAIT_HEADS),
        rows,
    )


def _figures(over: Played) -> tuple[str, ...]:
    counts = over.counts
    return (
        _percent(counts.refused, counts.turns),
        _percent(counts.early, counts.turns),
        *_waits(counts),
        f"{counts.cut}",
        f"{counts.held_nanoeur / counts.cost_nanoeur:.0f}",
        _eur(over.ledger.held_mean_nanoeur),
        _eur(over.ledger.held_max_nanoeur),
        _eur(counts.cost_nanoeur),
        _eur(over.wanted_nanoeur),
        _eur(max(0, over.ledger.passed_nanoeur)),
    )


def _waits(counts: Counts) -> tuple[str, ...]:
    return (
        _percent(len(counts.waits_s), counts.turns),
        *(f"{counts.wait_s(percent):.1f}" for percent in (50, 90)),
        f"{max(counts.waits_s, default=0.0):.1f}",
    )


def _percent(part: int, whole_: int) -> str:
    return f"{part / whole_:.2%}"


def _eur(nanoeur_: int) -> str:
    return f"{nanoeur_ / EUR:.2f}"


def _print_table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = (heads, ["---"] * len(heads), *rows)
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    sys.stdout.write(f"\n{title}\n\n{table}\n")
    sys.stdout.flush()
