"""Base of the commands: actions, one-line errors, lists as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from django import forms
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper
from django.db import Error as DatabaseError
from django.db.models import Manager, Model

from orgs.core.errors import Invalid, Missing, OrgsError
from orgs.models import Organization

FilledForm = TypeVar("FilledForm", bound=forms.Form)
Row = TypeVar("Row", bound=Model)
# Options whose values can be removed, each with its field and more.
Removable = Sequence[tuple[str, ...]]
Action = Callable[[dict[str, Any]], None]
LOCAL_URL = "http://127.0.0.1:8000"


class ActionCommand(BaseCommand):
    """A command with actions, such as `orgs create`; `actions` adds each with its function."""

    def actions(self, add: Callable[..., CommandParser]) -> None:
        """Add the actions: `add(name, run, help=...)` returns the parser of the action."""
        raise NotImplementedError

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **options)
        _use_one_line_errors(parser)
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        choices = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

        def add(name: str, run: Action, **options: Any) -> CommandParser:
            description = options.setdefault("description", options.get("help"))
            action: CommandParser = choices.add_parser(
                name, **options | {"description": description}
            )
            action.set_defaults(run=run)
            _use_one_line_errors(action)
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
            message = f"The database is not ready ({reason}); check that it is running and migrated"
            raise CommandError(message) from exc


def add_format(action: CommandParser) -> None:
    """Add the option for output as text or as JSON."""
    action.add_argument(
        "--format", choices=("text", "json"), default="text", help="text (default) or json"
    )


def add_report(action: CommandParser) -> None:
    """Add the arguments of a report on an organization, as text or as JSON."""
    action.add_argument("slug", metavar="SLUG", help="the organization")
    add_format(action)


def add_named(action: CommandParser, what: str) -> None:
    """Add the arguments that select a named object of an organization: a policy, an alias."""
    action.add_argument("slug", metavar="SLUG", help="the organization")
    action.add_argument("name", metavar="NAME", help=f"the {what}")


def add_removals(action: CommandParser, removable: Removable, *, help: str) -> None:
    """Add a `--no-` form of each option, which removes its value; `help` has {} for the option."""
    for option, field, *_ in removable:
        action.add_argument(
            option.replace("--", "--no-", 1),
            dest=f"no_{field}",
            action="store_true",
            help=help.format(option),
        )


def given(options: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    """Return the fields that have a value in the options."""
    return {field: options[field] for field in fields if options[field] is not None}


def changes_in(
    options: Mapping[str, Any], fields: Iterable[str], *, removable: Removable = ()
) -> dict[str, Any]:
    """Return the fields that the options of an update change; a removed one is empty.

    Raises Invalid when nothing changes, or a value is both given and removed.
    """
    changes = given(options, fields)
    for option, field, *_ in removable:
        if options[f"no_{field}"]:
            if field in changes:
                raise Invalid(f"{option} and its --no- form cannot be used together")
            changes[field] = ""
    if options["rename"] is not None:
        changes["name"] = options["rename"]
    if not changes and options.get("enabled") is None:
        raise Invalid("At least one change must be given; see --help")
    return changes


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
    """Return a valid form of a page. Raises Invalid with its first error."""
    for field, faults in form.errors.items():
        label = form.fields[field].label if field in form.fields else "Input"
        raise Invalid(f"{label}: {faults[0]}", field=field)
    return form


def as_typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as typed into a form: a list is lines."""
    return {
        name: "\n".join(value) if isinstance(value, list) else value
        for name, value in values.items()
    }


def organization(slug: str) -> Organization:
    """Return the organization with this slug. Raises Missing."""
    found = Organization.objects.filter(slug=slug).first()
    if found is None:
        raise Missing(f'Organization "{slug}" does not exist')
    return found


def the_named(rows: Manager[Row], org: Organization, name: str, *, what: str) -> Row:
    """Return the organization's row with this name, case-insensitively. Raises Missing."""
    found = rows.filter(org=org, name__iexact=name.strip()).first()
    if found is None:
        raise Missing(f'{org.slug} has no {what} "{name}"')
    return found


def installation_url() -> str:
    """Return the URL of this installation for links: PULSE_URL.

    Without it, that of the first public host, else the one that was served last on this machine.
    """
    if settings.PULSE_URL:
        return str(settings.PULSE_URL)
    local = {"localhost", "127.0.0.1", "[::1]"}
    hosts = [host for host in settings.ALLOWED_HOSTS if host not in local and "*" not in host]
    if not hosts:
        return _served_url()
    scheme = "https" if settings.SESSION_COOKIE_SECURE else "http"
    return f"{scheme}://{hosts[0].removeprefix('.')}"


def _served_url() -> str:
    file: Path = settings.SERVED_URL_FILE
    try:
        return file.read_text() or LOCAL_URL
    except OSError:  # nothing was served here yet
        return LOCAL_URL


def keep_served_url(url: str) -> None:
    """Keep the URL that is served, so that links of this machine's commands lead to it."""
    file: Path = settings.SERVED_URL_FILE
    file.write_text(url)


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {part}" for name, part in value.items()) or "-"
    return str(value)


def _use_one_line_errors(parser: CommandParser) -> None:
    parser.error = partial(_fail, parser)  # type: ignore[method-assign]  # argparse makes the parsers


def _fail(parser: CommandParser, message: str) -> NoReturn:
    """Print the error without the usage, which would hide it; `--help` prints that."""
    if not parser.called_from_command_line:
        raise CommandError(message)
    parser.exit(2, f"{parser.prog}: {message}\n")
