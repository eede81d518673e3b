"""What a reader of README.md would miss: a setting, an address or a command it does not name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.core.management.base import CommandParser
from django.urls import URLPattern, URLResolver, get_resolver

ROOT: Path = settings.BASE_DIR
OURS = ("orgs", "costs", "gateway", "pulse")
# Functions of pulse/environment.py that read the variable they are given first.
READERS = {"switch", "number", "upstream", "str", "list", "db_url", "bool", "int"}
# Steps of pages that a reader meets on the pages themselves.
STEPS = re.compile(r"<|^admin/(?!ai)|^(logout|organizations/switch)$")


@pytest.fixture(scope="module")
def readme() -> str:
    path = ROOT / "README.md"
    return path.read_text() if path.exists() else ""


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
        elif address != "admin/":  # Django's own pages, which the README names as one
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


def test_the_readme_names_every_setting(readme: str) -> None:
    read = _settings_read()
    assert {"DATABASE_URL", "SECRET_KEY", "PULSE_PROVIDER_TIMEOUT_S"} <= read
    _assert_none(name for name in read if not re.search(rf"\b{name}\b", readme))


def test_the_readme_names_every_address(readme: str) -> None:
    endpoints = _endpoints()
    assert {"/api/ai/request", "/login", "/costs"} <= endpoints
    _assert_none(address for address in endpoints if not _names(readme, address))


def test_the_readme_names_every_command(readme: str) -> None:
    commands = set(_commands())
    assert {"up", "serve", "providers list", "keys create"} <= commands
    _assert_none(command for command in commands if not _says(readme, command))


def _assert_none(missing: Iterable[str]) -> None:
    listed = sorted(missing)
    assert not listed, "README.md does not name " + ", ".join(listed)


def _names(readme: str, address: str) -> bool:
    return re.search(rf"{re.escape(address)}(?![\w/-])", readme) is not None


def _says(readme: str, command: str) -> bool:
    """Whether `readme` has `name action`, also as one of several: `keys create · list`."""
    name, _, action = command.partition(" ")
    lines = (line for line in readme.splitlines() if re.search(rf"\b{name}\b", line))
    return any(re.search(rf"\b{action or name}\b", line) for line in lines)
