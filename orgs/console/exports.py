"""Lists as CSV and JSON, streamed in pages: memory is that of one page."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.http import HttpRequest, StreamingHttpResponse

from orgs.threads import EXPORTS

# A spreadsheet evaluates a cell that starts with one of these signs as a formula, and callers can
# send any text. They are those of https://owasp.org/www-community/attacks/CSV_Injection and the NUL
# of OWASP ASVS 5.0, 1.2.10. A number alone is no formula: it stays one, also below zero.
# Where it takes another sign than the comma for the separator (`;` where decimals have a comma) a
# text has several cells, and lines of its own where none of them is quoted: each is made a text by
# an apostrophe, also behind spaces and quotation marks, which are taken off.
_CELL_ENDS: Final = r";|\t\r\n"
FORMULA_SIGNS: Final = (
    "=+-@\t\r\n\0\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}"
    "\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
)
_FORMULA: Final = re.compile(rf"""(\A|[{_CELL_ENDS}])(?=[\s"']*[{re.escape(FORMULA_SIGNS)}])""")
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")

Row = Mapping[str, Any]
Chunks = Iterable[Sequence[Row]]


def exported(
    request: HttpRequest, chunks: Chunks, *, columns: tuple[str, ...], name: str, format: str
) -> StreamingHttpResponse:
    """Return the rows as a file to download; `format` is csv or json."""
    write: Callable[..., Iterator[str]] = _as_csv if format == "csv" else _as_json
    text = write(chunks, columns)
    is_async = isinstance(request, ASGIRequest)
    response = StreamingHttpResponse(
        _in_threads(text, request.user.pk) if is_async else text,
        content_type="text/csv; charset=utf-8" if format == "csv" else "application/json",
    )
    response["Content-Disposition"] = f'attachment; filename="{name}.{format}"'
    response["Cache-Control"] = "no-store"
    return response


async def _in_threads(text: Iterator[str], caller: object) -> AsyncIterator[str]:
    """Yield from an iterator that queries the database, without blocking the event loop."""
    following = partial(_next_piece, text)
    while (piece := await EXPORTS.run(caller, following)) is not None:
        yield piece


def _next_piece(text: Iterator[str]) -> str | None:
    """Return the next piece; no connection stays open while a slow client reads it."""
    try:
        return next(text, None)
    finally:
        connections.close_all()


class _Echo:
    """A target for csv.writer that returns each line."""

    def write(self, line: str) -> str:
        """Return the line."""
        return line


def csv_line(values: Iterable[object]) -> str:
    """Return a line of a CSV file, in which no spreadsheet finds a formula."""
    line: str = csv.writer(_Echo()).writerow([_cell(value) for value in values])
    return line


def _as_csv(chunks: Chunks, columns: tuple[str, ...]) -> Iterator[str]:
    yield csv_line(columns)
    for rows in chunks:
        yield "".join(csv_line(row[name] for name in columns) for row in rows)


def _cell(value: object) -> object:
    if isinstance(value, list):
        value = " ".join(map(str, value))
    if isinstance(value, str) and _NUMBER.fullmatch(value) is None:
        return _FORMULA.sub(r"\1'", value)
    return value


def _as_json(chunks: Chunks, columns: tuple[str, ...]) -> Iterator[str]:
    separator = "["
    for rows in chunks:
        for row in rows:
            line = json.dumps({name: row[name] for name in columns}, ensure_ascii=False)
            yield f"{separator}\n{line}"
            separator = ","
    yield "[]\n" if separator == "[" else "\n]\n"
