"""`manage.py aliases`: makes, lists, changes and removes an organization's aliases."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction

from gateway.aliases import operations as alias_operations
from gateway.aliases import reports
from gateway.aliases.forms import AliasForm, alias_values, doubtful_models
from gateway.core.attempts import RETRIES_MAX
from gateway.models import ModelAlias
from orgs.console.commands import (
    ActionCommand,
    add_format,
    as_typed,
    checked,
    organization,
    write_rows,
)
from orgs.core.errors import Invalid, Missing
from orgs.locking import locked
from orgs.models import Organization

MODELS_HELP = "the models to ask, in order"
RETRIES_HELP = f"how often each is asked again where its refusal may pass, 0 to {RETRIES_MAX}"


class Command(ActionCommand):
    help = "Makes, lists, changes and removes aliases: names for models that are asked in order."

    def actions(self, add: Callable[..., CommandParser]) -> None:
        create = add("create", self.create, help="make an alias; it is on")
        _add_alias(create)
        create.add_argument("--models", metavar="M,…", required=True, help=MODELS_HELP)
        create.add_argument("--retries", metavar="N", default="0", help=RETRIES_HELP)
        listing = add("list", self.list, help="list an organization's aliases")
        listing.add_argument("slug", metavar="SLUG", help="the organization")
        add_format(listing)
        update = add("update", self.update, help="change what is given and leave the rest")
        _add_alias(update)
        update.add_argument("--rename", dest="new_name", metavar="NAME", help="its new name")
        update.add_argument("--models", metavar="M,…", help=MODELS_HELP)
        update.add_argument("--retries", metavar="N", help=RETRIES_HELP)
        switch = update.add_mutually_exclusive_group()
        switch.add_argument("--enable", dest="enabled", action="store_const", const=True)
        switch.add_argument("--disable", dest="enabled", action="store_const", const=False)
        delete = add("delete", self.delete, help="remove an alias for good")
        _add_alias(delete)

    def create(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        given = {name: options[name] for name in ("name", "models", "retries")}
        form = _checked(given, others=reports.alias_names(organization_id=org.pk))
        alias = alias_operations.create_alias(organization_id=org.pk, terms=form.terms())
        self._warn(form)
        self.stdout.write(f'Made the alias "{alias.name}" of {org.slug}; it is on.')

    def list(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        rows = [_row(alias) for alias in reports.aliases(organization_id=org.pk)]
        if options["format"] == "text":
            rows = [row | {"models": ", ".join(row["models"])} for row in rows]
        write_rows(self.stdout, rows, format=options["format"])

    def update(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        said = {
            "name": options["new_name"],
            "models": options["models"],
            "retries": options["retries"],
        }
        changes = {name: value for name, value in said.items() if value is not None}
        if not changes and options["enabled"] is None:
            raise Invalid("Say what to change; see --help")
        # Read and written under one lock, or two commands could each undo the other's change.
        with transaction.atomic():
            locked(org.pk)
            alias = _the_alias(org, options["name"])
            others = reports.alias_names(organization_id=org.pk, but=alias.pk)
            form = _checked(alias_values(alias) | changes, others=others)
            alias_operations.update_alias(
                organization_id=org.pk,
                alias_id=alias.pk,
                terms=form.terms(),
                enabled=options["enabled"],
            )
        self._warn(form)
        self.stdout.write(f'Changed the alias "{form.terms().name}" of {org.slug}.')

    def delete(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        alias = _the_alias(org, options["name"])
        alias_operations.delete_alias(organization_id=org.pk, alias_id=alias.pk)
        self.stdout.write(f'Deleted the alias "{alias.name}" of {org.slug}.')

    def _warn(self, form: AliasForm) -> None:
        if doubtful := doubtful_models(form.terms().models):
            self.stderr.write(f"Warning: not in the list of known models: {', '.join(doubtful)}")


def _add_alias(action: CommandParser) -> None:
    action.add_argument("slug", metavar="SLUG", help="the organization")
    action.add_argument("name", metavar="NAME", help="the alias")


def _checked(values: dict[str, Any], *, others: Collection[str]) -> AliasForm:
    return checked(AliasForm(as_typed(values), other_aliases=others))


def _the_alias(org: Organization, name: str) -> ModelAlias:
    alias = ModelAlias.objects.filter(org=org, name__iexact=name.strip()).first()
    if alias is None:
        raise Missing(f'{org.slug} has no alias "{name}"')
    return alias


def _row(alias: ModelAlias) -> dict[str, Any]:
    return {
        "name": alias.name,
        "enabled": alias.enabled,
        "models": alias.models,
        "retries": alias.retries,
        "id": str(alias.pk),
    }
