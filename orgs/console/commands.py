"""What the commands have in common: actions, one line on bad input, lists as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn, TypeVar

from django import forms
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper
from django.db import Error as DatabaseError

from orgs.core.errors import Invalid, Missing, OrgsError
from orgs.models import Organization

FilledForm = TypeVar("FilledForm", bound=forms.Form)
Action = Callable[[dict[str, Any]], None]
LOCAL_URL = "http://127.0.0.1:8000"


class ActionCommand(BaseCommand):
    """A command with actions, such as `orgs create`; `actions` adds each with its function."""

    def actions(self, add: Callable[..., CommandParser]) -> None:
        """Add the actions: `add(name, run, help=...)` returns the parser of the action."""
        raise NotImplementedError

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **options)
        _say_errors_in_one_line(parser)
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        choices = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

        def add(name: str, run: Action, **options: Any) -> CommandParser:
            description = options.setdefault("description", options.get("help"))
            action: CommandParser = choices.add_parser(
                name, **options | {"description": description}
            )
            action.set_defaults(run=run)
            _say_errors_in_one_line(action)
            return action

        self.actions(add)

    def handle(self, *args: Any, **options: Any) -> None:
        run: Action = options["run"]
        try:
            run(options)
        except OrgsError as refusal:
            raise CommandError(refusal.message) from refusal
        except DatabaseError as exc:
            reason = str(exc).strip().splitlines()[0]
            message = f"The database is not ready ({reason}); is it up, and migrated?"
            raise CommandError(message) from exc


def add_format(action: CommandParser) -> None:
    """Let the action list as text or as JSON."""
    action.add_argument(
        "--format", choices=("text", "json"), default="text", help="text (default) or json"
    )


def write_rows(out: OutputWrapper, rows: Sequence[Mapping[str, Any]], *, format: str) -> None:
    """Write rows as a JSON array, or as a table with aligned columns."""
    if format == "json":
        out.write(json.dumps(rows, indent=2, default=str))
        return
    if not rows:
        out.write("none")
        return
    table = [tuple(rows[0]), *(tuple(_cell(value) for value in row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        out.write("  ".join(cells).rstrip())


def checked(form: FilledForm) -> FilledForm:
    """Return a page's form that is valid; raises Invalid with its first complaint."""
    for field, faults in form.errors.items():
        label = form.fields[field].label if field in form.fields else "What is given"
        raise Invalid(f"{label}: {faults[0]}", field=field)
    return form


def as_typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as a person types them into a form: a list is lines."""
    return {
        name: "\n".join(value) if isinstance(value, list) else value
        for name, value in values.items()
    }


def organization(slug: str) -> Organization:
    """Return the organization with this slug."""
    found = Organization.objects.filter(slug=slug).first()
    if found is None:
        raise Missing(f'There is no organization "{slug}"')
    return found


def installation_url() -> str:
    """Return where people reach this installation, as far as its settings tell."""
    local = {"localhost", "127.0.0.1", "[::1]"}
    hosts = [host for host in settings.ALLOWED_HOSTS if host not in local and "*" not in host]
    if not hosts:
        return LOCAL_URL
    scheme = "https" if settings.SESSION_COOKIE_SECURE else "http"
    return f"{scheme}://{hosts[0].removeprefix('.')}"


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {part}" for name, part in value.items()) or "-"
    return str(value)


def _say_errors_in_one_line(parser: CommandParser) -> None:
    parser.error = partial(_fail, parser)  # type: ignore[method-assign]  # argparse makes the parsers


def _fail(parser: CommandParser, message: str) -> NoReturn:
    """Say what is wrong without the usage, which would hide it; `--help` has that."""
    if not parser.called_from_command_line:
        raise CommandError(message)
    parser.exit(2, f"{parser.prog}: {message}\n")
