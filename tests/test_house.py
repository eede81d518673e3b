"""Rules of the code base that no linter checks."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection

ROOT: Path = settings.BASE_DIR
APPS = ("orgs", "costs", "gateway")
FUNCTION_MAX_LINES = 60
FOLDER_MAX_MODULES = 15

# What a core/ may use besides the standard library.
CORE_MAY_IMPORT = {
    "orgs": ("orgs.core",),
    "costs": ("costs.core", "orgs.core"),
    "gateway": ("gateway.core", "costs.core", "orgs.core"),
}
TRIGGERS = {
    "postgresql": {
        "organization_config_version",
        "api_key_config_version",
        "policy_config_version",
        "model_alias_config_version",
        "budget_config_version",
        "period_wall",
        "cost_event_is_final",
        "rate_version",
        "exchange_rate_version",
        "price_factor_version",
        "hourly_price_version",
        "history_event_is_final",
    },
    "sqlite": {
        "organization_config_version",
        "api_key_config_version",
        "api_key_config_version_gone",
        "policy_config_version_insert",
        "policy_config_version_update",
        "policy_config_version_delete",
        "model_alias_config_version_insert",
        "model_alias_config_version_update",
        "model_alias_config_version_delete",
        "budget_config_version_insert",
        "budget_config_version_update",
        "budget_config_version_delete",
        "period_wall",
        "period_wall_new",
        "cost_event_is_final",
        "rate_version_insert",
        "rate_version_update",
        "rate_version_delete",
        "exchange_rate_version_insert",
        "exchange_rate_version_update",
        "exchange_rate_version_delete",
        "price_factor_version_insert",
        "price_factor_version_update",
        "price_factor_version_delete",
        "hourly_price_version_insert",
        "hourly_price_version_update",
        "hourly_price_version_delete",
        "rate_usable_insert",
        "rate_usable_update",
        "price_factor_usable_insert",
        "price_factor_usable_update",
        "history_event_is_final_update",
        "history_event_is_final_delete",
    },
}
SECRETS = re.compile(
    r"""
    \bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{24,}      # OpenAI, Anthropic
    | \bAIza[A-Za-z0-9_-]{35}                   # Google
    | \bghp_[A-Za-z0-9]{36}
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----
    | \bSECRET_KEY\s*=\s*["'][^"']{16,}["']
    """,
    re.VERBOSE,
)


def _sources() -> Iterator[Path]:
    for folder in (*APPS, "pulse", "tests"):
        yield from (ROOT / folder).rglob("*.py")


def _committed_files() -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("this is not a git checkout")
    return [ROOT / name for name in listing.stdout.splitlines()]


def _place(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_trigger_exists_after_migrations(db: None) -> None:
    query = {
        "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = 'O'",
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    }
    with connection.cursor() as cursor:
        cursor.execute(query[connection.vendor])
        found = {name for (name,) in cursor.fetchall()}
    assert TRIGGERS[connection.vendor] - found == set()


def test_no_migration_is_missing(db: None) -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize("app", APPS)
def test_core_packages_are_plain_python(app: str) -> None:
    foreign = [
        f"{_place(path)} imports {module}"
        for path in (ROOT / app / "core").glob("*.py")
        for module in _imported(path)
        if module.partition(".")[0] not in sys.stdlib_module_names
        and not module.startswith(CORE_MAY_IMPORT[app])
    ]
    assert foreign == []


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


def test_every_module_has_docstring() -> None:
    silent = [
        _place(path)
        for path in _sources()
        if (text := path.read_text()) and "migrations" not in path.parts
        if not ast.get_docstring(ast.parse(text))
    ]
    assert silent == []


def test_no_folder_has_too_many_modules() -> None:
    modules = Counter(
        path.parent
        for path in _sources()
        if not path.is_relative_to(ROOT / "tests")
        and path.name != "__init__.py"
        and "migrations" not in path.parts
    )
    full = {_place(folder): n for folder, n in modules.items() if n > FOLDER_MAX_MODULES}
    assert full == {}


def test_every_package_has_docstring() -> None:
    rooms = {path.parent for app in (*APPS, "pulse") for path in (ROOT / app).glob("*/*.py")}
    silent = [
        _place(room)
        for room in rooms
        if room.name not in {"management", "migrations", "templatetags"}
        if not ast.get_docstring(ast.parse((room / "__init__.py").read_text()))
    ]
    assert silent == []


def test_class_names_are_unique() -> None:
    places: dict[str, list[str]] = {}
    for path in _sources():
        if path.is_relative_to(ROOT / "tests") or "migrations" in path.parts:
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and node.name != "Command":  # Django's name for it
                places.setdefault(node.name, []).append(_place(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_function_is_too_long() -> None:
    long = [
        f"{_place(path)}:{node.lineno} {node.name} has {length} lines"
        for path in _sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (length := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_MAX_LINES
    ]
    assert long == []


def test_no_file_contains_secret() -> None:
    found = []
    for path in _committed_files():
        if not path.is_file() or path.suffix in {".gz", ".zip", ".png", ".woff2"}:
            continue
        if match := SECRETS.search(path.read_text(errors="replace")):
            found.append(f"{_place(path)}: {match[0][:12]}…")
    assert found == []


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_locked_dependencies_have_hashes_and_no_url(name: str) -> None:
    text = (ROOT / name).read_text()
    unlocked = re.findall(r"^[\w.\[\]-]+==\S+(?![^\n]*\\\n\s+--hash=)[^\n]*$", text, re.MULTILINE)
    assert unlocked == []
    assert "://" not in text
    assert not re.search(r"^\s*(-i|--index-url|--extra-index-url|--find-links)", text, re.MULTILINE)
