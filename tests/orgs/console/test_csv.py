"""CSV files: no spreadsheet finds a formula in what callers and admins wrote."""

from __future__ import annotations

import ast
import csv
import io
import re
from pathlib import Path

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from orgs.console.exports import csv_line

SIGNS = tuple(
    "=+-@\t\r\n\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH COMMERCIAL AT}"
)
NUMBER = re.compile(r"-?[0-9]+")


def is_formula(cell: str) -> bool:
    return cell.lstrip(' "').startswith(SIGNS) and NUMBER.fullmatch(cell) is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        *(("=1+1", "'=1+1"), ("+1", "'+1"), ("-x", "'-x"), ("@SUM(A1)", "'@SUM(A1)")),
        *(("  =1", "'  =1"), ("\N{FULLWIDTH EQUALS SIGN}1", "'\N{FULLWIDTH EQUALS SIGN}1")),
        *(("a;=1", "a;'=1"), ("a; =1", "a;' =1"), ('a;"=1"', 'a;\'"=1"'), ("a;b;-c", "a;b;'-c")),
        *(("a\t=1", "a\t'=1"), ("a\n=1", "a\n'=1"), ("a\r\n@x", "a\r'\n'@x"), ("a|=1", "a|'=1")),
        *((text, text) for text in ("team-1", "", "a=b", "gpt-4o", "a; b", "a;b=c", "x@y.example")),
        *((text, text) for text in ("-1", "-0.000002328", "0.5", "1")),
    ],
)
def test_formula_is_made_text_and_other_text_is_kept(text: str, kept: str) -> None:
    [[cell]] = csv.reader(io.StringIO(csv_line([text]), newline=""))
    assert cell == kept


@given(st.lists(st.text("=-+@;|,\t\r\n \"'a1", max_size=8), min_size=1, max_size=3))
def test_no_cell_is_formula_with_any_separator(values: list[str]) -> None:
    line = csv_line(["id", *values])
    [row] = csv.reader(io.StringIO(line, newline=""))
    assert not any(map(is_formula, row))
    # With another separator a line begins with no quotation mark, so that none counts in it.
    for separator in (";", r"\t", r"\|"):
        assert not any(map(is_formula, re.split(rf"{separator}|\r|\n", line)))


def test_every_csv_file_is_written_by_one_writer() -> None:
    writers = [
        str(path.relative_to(settings.BASE_DIR))
        for app in ("orgs", "costs", "gateway", "pulse")
        for path in (Path(settings.BASE_DIR) / app).rglob("*.py")
        if any(
            isinstance(node, ast.Attribute)
            and node.attr in ("writer", "DictWriter")
            and isinstance(node.value, ast.Name)
            and node.value.id == "csv"
            for node in ast.walk(ast.parse(path.read_text()))
        )
    ]
    assert writers == ["orgs/console/exports.py"]
