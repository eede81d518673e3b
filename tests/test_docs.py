"""The docs name each setting, path and command; their links, paths, names and tests exist."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.core.management.base import CommandParser
from django.urls import URLPattern, URLResolver, get_resolver

from gateway.http.openapi.document import DOCUMENT

ROOT: Path = settings.BASE_DIR
OURS = ("orgs", "costs", "gateway", "pulse")
# Functions of pulse/environment.py that read the variable they are given first.
READERS = {"switch", "choice", "number", "upstream", "str", "list", "db_url", "bool", "int"}
# Steps of pages that a reader meets on the pages themselves.
STEPS = re.compile(r"<|^admin/(?!ai)|^(logout|organizations/switch)$")

USER_DOCS = (
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "clients").glob("*.md")),
)
# What was true of an earlier version may name what is gone.
TIMELESS = (
    *USER_DOCS,
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
    *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")),
)
LINKED = (*TIMELESS, ROOT / "CHANGELOG.md", *sorted((ROOT / ".github").rglob("*.md")))

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
NAME = re.compile(r"[\w.<>{},*/-]+")
MODULE = re.compile(r"python -m ((?:docs|tests|benchmarks)[\w.]*)")
# A name that is documented with its file: `Limit` (`costs/core/admission.py`)
PLACED = re.compile(r"`(\w+)`\s+\(`([\w./-]+\.py)`")
FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"var"}
FILE = re.compile(r"\.(?:py|md|toml|html|css|js|txt|c|yml)$")


@pytest.fixture(scope="module")
def docs() -> str:
    return "\n".join(path.read_text() for path in USER_DOCS)


def _settings_read() -> set[str]:
    names: set[str] = set()
    for path in (ROOT / "pulse").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _called(node) in READERS and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    names.add(first.value)
    return {name for name in names if re.fullmatch(r"[A-Z][A-Z0-9_]+", name)}


def _called(node: ast.Call) -> str:
    name: str = getattr(node.func, "id", "") or getattr(node.func, "attr", "")
    return name


def _addresses(patterns: Sequence[URLPattern | URLResolver], prefix: str = "") -> Iterator[str]:
    for pattern in patterns:
        address = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield address
        elif address != "admin/":  # Django's own pages, which the docs name as one
            yield from _addresses(pattern.url_patterns, address)


def _endpoints() -> set[str]:
    found = {address.rstrip("/") for address in _addresses(get_resolver().url_patterns)}
    return {f"/{address}" for address in found if address and not STEPS.search(address)}


def _commands() -> Iterator[str]:
    for name, app in get_commands().items():
        if app not in OURS:
            continue
        parser = load_command_class(app, name).create_parser("manage.py", name)
        actions = list(_actions_of(parser))
        yield from (f"{name} {action}" for action in actions) if actions else (name,)


def _actions_of(parser: CommandParser) -> Iterator[str]:
    for action in parser._actions:
        if action.dest != "format" and isinstance(action.choices, dict):
            yield from action.choices


def test_docs_name_every_setting(docs: str) -> None:
    read = _settings_read()
    assert {"DATABASE_URL", "SECRET_KEY", "PULSE_PROVIDER_TIMEOUT_S"} <= read
    _assert_none("not documented", (name for name in read if not re.search(rf"\b{name}\b", docs)))


def test_docs_name_every_path(docs: str) -> None:
    endpoints = _endpoints()
    assert {"/api/ai/request", "/login", "/costs"} <= endpoints
    _assert_none("not documented", (each for each in endpoints if not _has_address(docs, each)))


def test_docs_name_every_command(docs: str) -> None:
    commands = set(_commands())
    assert {"up", "serve", "providers list", "keys create"} <= commands
    _assert_none("not documented", (each for each in commands if not _has_command(docs, each)))


def test_links_in_docs_point_to_existing_files_and_headings() -> None:
    links = [(path, target) for path in LINKED for target in LINK.findall(path.read_text())]
    assert len(links) > len(LINKED)
    _assert_none(
        "broken links",
        (f"{path.name}: {target}" for path, target in links if not _leads_somewhere(path, target)),
    )


def test_paths_in_docs_exist() -> None:
    paths = [
        (path, name)
        for path in TIMELESS
        for name in SPAN.findall(FENCED.sub("", path.read_text()))
        if _looks_like_path(name)
    ]
    assert any(name == "gateway/call/pipeline.py" for _, name in paths)
    _assert_none(
        "no such files", (f"{path.name}: {name}" for path, name in paths if not _exists(name))
    )


def test_names_in_docs_are_in_their_files() -> None:
    placed = [(path, *found) for path in TIMELESS for found in PLACED.findall(path.read_text())]
    assert ("Limit", "costs/core/admission.py") in {(name, place) for _, name, place in placed}
    _assert_none(
        "not in their files",
        (
            f"{path.name}: {name} ({place})"
            for path, name, place in placed
            if not re.search(rf"\b{name}\b", (ROOT / place).read_text())
        ),
    )


def test_modules_that_docs_run_exist() -> None:
    modules = {name for path in TIMELESS for name in MODULE.findall(path.read_text())}
    assert "tests.seeded_faults" in modules
    _assert_none("no such modules", (name for name in modules if find_spec(name) is None))


def _assert_none(fault: str, found: Iterable[str]) -> None:
    listed = sorted(found)
    assert not listed, f"{fault}: {', '.join(listed)}"


def _has_address(docs: str, address: str) -> bool:
    return re.search(rf"{re.escape(address)}(?![\w/-])", docs) is not None


def _has_command(docs: str, command: str) -> bool:
    """Return whether a code span has the command, also as one of several: `keys create · list`."""
    name, _, action = command.partition(" ")
    is_there = re.compile(rf"(?:^|manage\.py ){name}\b.*\b{action}\b").search
    return any(is_there(code) for code in _pieces_of_code(docs))


def _pieces_of_code(docs: str) -> list[str]:
    """Return the code spans, and the lines of fenced code."""
    lines = "\n".join(FENCED.findall(docs)).splitlines()
    return [*lines, *SPAN.findall(FENCED.sub("", docs))]


def _leads_somewhere(page: Path, target: str) -> bool:
    if "://" in target:
        return True
    name, _, anchor = target.partition("#")
    path = page.parent / name if name else page
    return path.exists() and (not anchor or anchor in _anchors(path))


def _anchors(page: Path) -> set[str]:
    """Return the anchors that forges make of a page's headings."""
    headings = HEADING.findall(FENCED.sub("", page.read_text()))
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def _looks_like_path(name: str) -> bool:
    head, slash, _ = name.partition("/")
    if not NAME.fullmatch(name):
        return False
    return head in FOLDERS if slash else FILE.search(name) is not None


def _exists(name: str) -> bool:
    """Return whether files exist for every variant of a path such as `apis/<api>/{a,b}.py`.

    A name without a folder is that of a file in some room.
    """
    pattern = re.sub(r"<\w+>", "*", name).rstrip("/")
    is_bare = "/" not in pattern
    return all(
        any(ROOT.glob(each)) or (is_bare and _is_in_a_room(each)) for each in _variants(pattern)
    )


def _is_in_a_room(name: str) -> bool:
    folders = (ROOT / app for app in (*OURS, "templates", "tests"))
    return any(any(folder.rglob(name)) for folder in folders)


def _variants(pattern: str) -> Iterator[str]:
    parts = re.split(r"\{([^}]*)\}", pattern)
    choices = [part.split(",") if place % 2 else [part] for place, part in enumerate(parts)]
    return ("".join(chosen) for chosen in product(*choices))


# --- error codes ---------------------------------------------------------------------------------

# In rows only: the client has disconnected, or the process has ended.
IN_ROWS = {"client_disconnected", "abandoned"}
# In headers only, of endpoints whose bodies have the clients' own shapes.
IN_HEADERS = {"conversation_locked", "model_not_found", "previous_response_not_found"}
# In events of a WebSocket, which the API description cannot describe.
IN_EVENTS = {
    "websocket_connection_limit_reached",
    "websocket_stream_limit_reached",
}


def _codes_of(path: Path) -> Iterator[str]:
    """Yield each error code that a file gives: to `Refused`, or as the code of an error class."""
    for node in ast.walk(ast.parse(path.read_text())):
        value: ast.expr | None = None
        if isinstance(node, ast.Call) and _called(node) == "Refused" and node.args:
            value = node.args[0]
        elif isinstance(node, ast.ClassDef) and path.name == "errors.py":
            for each in node.body:
                target = each.targets[0] if isinstance(each, ast.Assign) else None
                if isinstance(target, ast.Name) and target.id == "code":
                    value = each.value if isinstance(each, ast.Assign) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value.value


def _codes_in_code() -> set[str]:
    paths = [*(ROOT / "gateway").rglob("*.py"), *(ROOT / "pulse").rglob("*.py")]
    return {code for path in paths for code in _codes_of(path)}


def test_every_error_code_is_in_api_description_and_docs() -> None:
    described = json.dumps(DOCUMENT)
    listed = (ROOT / "docs" / "clients" / "README.md").read_text()
    codes = _codes_in_code()
    assert len(codes) > 20
    elsewhere = IN_ROWS | IN_HEADERS | IN_EVENTS
    assert {code for code in codes - elsewhere if f'"{code}"' not in described} == set()
    assert {code for code in codes | IN_ROWS if f"`{code}`" not in listed} == set()


def test_every_documented_error_code_is_given_somewhere() -> None:
    table = (ROOT / "docs" / "clients" / "README.md").read_text().partition("## Errors")[2]
    rows = re.findall(r"^\| [\d, ]+ \| (.+?) \|", table, re.MULTILINE)
    listed = {code for row in rows for code in re.findall(r"`(\w+)`", row)}
    texts = [path.read_text() for path in (ROOT / "gateway").rglob("*.py")]
    product = "\n".join(text for text in texts if "openapi" not in text[:200])
    assert {code for code in listed if f'"{code}"' not in product} == set()


# --- security requirements -----------------------------------------------------------------------

SECURITY_PAGE = ROOT / "docs" / "security.md"
# Requirements of levels 1 and 2 of ASVS 5.0.0, by chapter.
REQUIREMENTS = (27, 11, 19, 10, 9, 35, 18, 7, 7, 29, 14, 9, 13, 9, 13, 16, 7)
STATUSES = ("met", "not met", "not applicable")
REQUIREMENT = re.compile(
    r"^\| v5\.0\.0-(\d+)\.(\d+)\.(\d+) \| [^|]+ \| ([a-z ]+) \| ([^|]+) \|$", re.MULTILINE
)
SUMMARY = re.compile(r"^\| (?:\[V(\d+) [^|]+|all) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", re.M)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
RULE = re.compile(r"`([A-Z]+\d{3})`")


def _functions(place: str) -> set[str]:
    path = ROOT / place
    body = ast.parse(path.read_text()).body if path.exists() else []
    return {each.name for each in body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_tests_named_on_security_page_exist() -> None:
    text = SECURITY_PAGE.read_text()
    named = TEST.findall(text)
    assert len(named) == text.count("::") > 100
    functions = {place: _functions(place) for place, _ in named}
    _assert_none(
        "no such tests",
        (f"{place}::{name}" for place, name in named if name not in functions[place]),
    )


def test_rules_named_on_security_page_are_held() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    rules = set(RULE.findall(SECURITY_PAGE.read_text()))
    assert "S307" in rules
    held = {rule for rule in rules if rule.startswith(tuple(lint["select"]))}
    assert held - set(lint.get("ignore", ())) == rules


def test_every_requirement_that_is_met_has_proof() -> None:
    rows = REQUIREMENT.findall(SECURITY_PAGE.read_text())
    _assert_none(
        "met without a test, a rule or a page",
        (
            ".".join(number)
            for *number, status, proof in rows
            if status == "met" and not any(each in proof for each in ("::", "](", "; no test"))
            if not RULE.search(proof)
        ),
    )


def test_security_page_has_every_requirement_once_and_right_sums() -> None:
    text = SECURITY_PAGE.read_text()
    rows = REQUIREMENT.findall(text)
    assert len(rows) == text.count("\n| v5")
    numbers = [tuple(map(int, row[:3])) for row in rows]
    assert numbers == sorted(set(numbers))
    assert {row[3] for row in rows} == set(STATUSES)
    counted = Counter((row[0], row[3]) for row in rows)
    chapters = [str(n) for n in range(1, len(REQUIREMENTS) + 1)]
    expected = [
        (each, *(str(counted[each, status]) for status in STATUSES), str(total))
        for each, total in zip(chapters, REQUIREMENTS, strict=True)
    ]
    by_status = Counter(row[3] for row in rows)
    sums = (str(by_status[status]) for status in STATUSES)
    assert SUMMARY.findall(text) == [*expected, ("", *sums, str(sum(REQUIREMENTS)))]
