"""The table of public reports is complete: every entry names its source and a test that exists."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

from tests.reports.case import Report

ROOT: Final = Path(__file__).resolve().parents[2]
MODULES: Final = sorted(
    path.stem
    for path in Path(__file__).parent.glob("*.py")
    if path.stem not in {"__init__", "case"} and not path.stem.startswith("test_")
)


def reports(module: str) -> tuple[Report, ...]:
    """Return the entries of a module."""
    found: tuple[Report, ...] = import_module(f"tests.reports.{module}").REPORTS
    return found


def names_in(path: Path) -> set[str]:
    """Return the names of a file's functions."""
    tree = ast.parse(path.read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


@pytest.mark.parametrize("module", MODULES)
def test_every_report_names_its_sources_and_test(module: str) -> None:
    assert reports(module)
    for report in reports(module):
        path, _, test = report.test.partition("::")
        assert test.partition("[")[0] in names_in(ROOT / path), report.test
        assert report.report.startswith(("https://", "none: ")), report.report
        assert all((report.kind, report.right, report.source))


def test_no_kind_is_listed_twice() -> None:
    kinds = [report.kind for module in MODULES for report in reports(module)]
    assert len(kinds) == len(set(kinds))
