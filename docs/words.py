"""Find words outside the project's plain English: `python -m docs.words` lists them and fails.

Each word has what to use instead. A word counts in prose and as a part of a name: `told`,
`told_back` and `ToldBack` are the same to it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDERS: Final = (
    *(".github", "benchmarks", "costs", "docs", "gateway", "orgs", "pulse", "static"),
    *("templates", "tests"),
)
SUFFIXES: Final = {".py", ".html", ".js", ".mjs", ".css", ".md", ".c", ".toml", ".yml"}
NOT_OURS: Final = "*/node_modules/*"

WORDS: Final = {
    "said": "given, reported, printed",
    "unsaid": "not given",
    "told": "delivered, sent, notified, reported",
    "untold": "not reported",
    "meant": "resolved, intended",
    "dearest": "highest, most expensive",
    "anew": "again",
    "whoever": "anyone who",
    "road": "path, endpoint, target",
    "roads": "paths, endpoints, targets",
    "door": "endpoint",
    "doors": "endpoints",
    "hostile": "untrusted, malformed, misbehaving",
    "nobody": "no user, none, unknown",
    "left out": "omitted",
    "leave out": "omit",
    "leaves out": "omits",
    "leaving out": "omitting",
    "drop-in": "compatible",
    "drop_in": "compatible",
    "dropin": "compatible",
    "e-mail": "email",
    "e-mails": "emails",
    "works on for": "stays valid for",
    "work on for": "stay valid for",
    "looks like nothing": "looks empty",
    "go away": "disconnect, end",
    "goes away": "disconnects, ends",
    "went away": "disconnected, ended",
    "gone away": "disconnected, ended",
    "not reached": "not checked",
}
# A budget's window and a range of days; `budget.span` is a column, and `span` an element of HTML.
SPAN: Final = "a span", "the span", "this span", "its span", "each span", "spans of"
CLASS_NAMES: Final = {
    "Answered": "CallResult",
    "Ask": "ReserveRequest",
    "Demand": "UsageBound",
    "Exchange": "CallStream",
    "Form": "RequestBody, SqlWrite",
    "Full": "InsufficientRoom",
    "Home": "CallLoop",
    "Pace": "LoopLag",
    "Recorded": "RefusalRecorded",
    "Span": "BudgetWindow, DateRange",
    "SwitchedOff": "GatewayDisabled",
}


class Allowed(NamedTuple):
    """Words that stay in the files that match a glob, each kind with its reason."""

    files: str
    pattern: str
    reason: str


ALLOWED: Final = (
    Allowed("*/migrations/*", r".*", "migrations that have landed are not edited"),
    Allowed("docs/words.py", r".*", "the list itself"),
    Allowed("*.py", r'(?<=")(?:said|meant)(?=")', "keys in stored rows and printed JSON"),
    Allowed("*.py", r'(?<=")not reached(?=")', "a verdict in stored traces"),
    Allowed("gateway/models/alerts.py", r'(?<=")e-mail(?=")', "its migration has landed"),
    Allowed("*.py", r"model__meant|policies_left_out", "keys in stored traces"),
)


class Finding(NamedTuple):
    """A word at a line of a file, and what to use instead."""

    line: int
    word: str
    use: str


def _normal(word: str) -> str:
    return re.sub(r"[\s#_]+", " ", word).lower()


_USES: Final = {_normal(word): use for word, use in WORDS.items()} | dict.fromkeys(
    SPAN, "period, window, date range"
)
# A phrase may go over the end of a line, also of a comment.
_PHRASES: Final = "|".join(
    re.escape(word).replace(r"\ ", r"(?:[\s#]+|_)") for word in (*WORDS, *SPAN)
)
_WORD: Final = re.compile(rf"(?<![A-Za-z])(?:{_PHRASES})(?![A-Za-z])", re.IGNORECASE)
_CAMEL_CASE: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_CLASS: Final = re.compile(rf"\bclass ({'|'.join(_CAMEL_CASE.sub('_', n) for n in CLASS_NAMES)})\b")
# A sentence in disguise: `test_a_stream_is_…` is `test_stream_is_…`.
_TEST: Final = re.compile(r"\bdef test_(?:\w+_)??(?:a|an|the)_")


def findings(text: str, name: str, *, allowed: Sequence[Allowed] = ALLOWED) -> list[Finding]:
    """Return the words of a file that are not allowed there; `name` is its path from the root."""
    spaced = _CAMEL_CASE.sub("_", text)
    for each in allowed:
        if fnmatch(name, each.files):
            spaced = re.sub(each.pattern, "", spaced)
    found = [
        *((match, _USES[_normal(match[0])]) for match in _WORD.finditer(spaced)),
        *((match, CLASS_NAMES[match[1].replace("_", "")]) for match in _CLASS.finditer(spaced)),
        *((match, "the behaviour without articles") for match in _TEST.finditer(spaced)),
    ]
    return sorted(
        Finding(spaced.count("\n", 0, match.start()) + 1, " ".join(match[0].split()), use)
        for match, use in found
    )


def files() -> Iterator[tuple[str, str]]:
    """Yield the path from the root, and the text, of each file that people write."""
    inner = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")))
    for path in (*sorted(ROOT.glob("*")), *inner):
        name = str(path.relative_to(ROOT))
        is_text = path.suffix in SUFFIXES or path.name == "Makefile"
        if is_text and path.is_file() and not fnmatch(name, NOT_OURS):
            yield name, path.read_text()


def main() -> int:
    """Print what is found, and return 1 if there is anything."""
    lines = [
        f'{name}:{found.line}: "{found.word}": use {found.use}\n'
        for name, text in files()
        for found in findings(text, name)
    ]
    sys.stdout.writelines(lines)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
