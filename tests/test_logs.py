"""What strangers can cause fills no disk."""

from __future__ import annotations

import io
import logging

import pytest

from pulse.logs import LINES_A_MINUTE_MAX, FewAMinute


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def handler(log: io.StringIO) -> logging.Handler:
    handler = logging.StreamHandler(log)
    handler.addFilter(FewAMinute())
    return handler


def _write(handler: logging.Handler, lines: int, *, at: float) -> None:
    for number in range(lines):
        record = logging.makeLogRecord({"msg": "Not Found: %s", "args": (number,), "created": at})
        handler.handle(record)


def test_minute_has_few_lines_and_says_so(handler: logging.Handler, log: io.StringIO) -> None:
    _write(handler, 1000, at=600)
    lines = log.getvalue().splitlines()
    assert len(lines) == LINES_A_MINUTE_MAX
    assert lines[-2] == f"Not Found: {LINES_A_MINUTE_MAX - 2}"
    assert lines[-1] == f"Not Found: {LINES_A_MINUTE_MAX - 1} (no more such lines in this minute)"


def test_next_minute_has_lines_again(handler: logging.Handler, log: io.StringIO) -> None:
    _write(handler, 1000, at=600)
    _write(handler, 5, at=660)
    assert len(log.getvalue().splitlines()) == LINES_A_MINUTE_MAX + 5


def test_error_of_page_is_logged_whatever_strangers_cause(
    handler: logging.Handler, log: io.StringIO
) -> None:
    _write(handler, 1000, at=600)
    error = {"msg": "Internal Server Error: /costs", "created": 600, "status_code": 500}
    for _ in range(2):
        handler.handle(logging.makeLogRecord(error))
    assert log.getvalue().count("Internal Server Error") == 2


@pytest.mark.parametrize("name", ["django.request", "django.security.DisallowedHost"])
def test_loggers_of_refused_pages_are_limited(name: str) -> None:
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None and not logger.handlers:
        logger = logger.parent
    assert logger is not None
    [handler] = [each for each in logger.handlers if type(each) is logging.StreamHandler]
    assert any(isinstance(each, FewAMinute) for each in handler.filters)
    assert not logger.propagate
