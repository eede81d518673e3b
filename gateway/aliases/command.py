"""`manage.py aliases`: create, list, update and delete an organization's aliases."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction

from gateway.aliases import operations, reports
from gateway.aliases.forms import AliasForm, alias_values
from gateway.core.attempts import RETRIES_MAX
from gateway.models import ModelAlias
from gateway.providers.known import known_models
from orgs.console.commands import (
    ActionCommand,
    add_named,
    add_report,
    as_typed,
    changes_in,
    checked,
    given,
    organization,
    the_named,
    write_rows,
)
from orgs.locking import locked
from orgs.models import Organization

MODELS_HELP = "the models to try, in order"
RETRIES_HELP = f"how often each is retried after a temporary failure, 0 to {RETRIES_MAX}"


class Command(ActionCommand):
    help = "Create, list, update and delete aliases: names for models that are tried in order."

    def actions(self, add: Callable[..., CommandParser]) -> None:
        create = add("create", self.create, help="create an alias; it is enabled")
        add_named(create, "alias")
        create.add_argument("--models", metavar="M,…", required=True, help=MODELS_HELP)
        create.add_argument("--retries", metavar="N", default="0", help=RETRIES_HELP)
        add_report(add("list", self.list, help="list an organization's aliases"))
        update = add("update", self.update, help="change the given options and keep the rest")
        add_named(update, "alias")
        update.add_argument("--rename", metavar="NAME", help="the new name")
        update.add_argument("--models", metavar="M,…", help=MODELS_HELP)
        update.add_argument("--retries", metavar="N", help=RETRIES_HELP)
        switch = update.add_mutually_exclusive_group()
        switch.add_argument("--enable", dest="enabled", action="store_const", const=True)
        switch.add_argument("--disable", dest="enabled", action="store_const", const=False)
        add_named(add("delete", self.delete, help="delete an alias"), "alias")

    def create(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        terms = given(options, ("name", "models", "retries"))
        form = _checked(org, terms, others=reports.alias_names(organization_id=org.pk))
        alias = operations.create_alias(organization_id=org.pk, terms=form.terms())
        self._warn(form)
        self.stdout.write(f'Created alias "{alias.name}" of {org.slug}; it is enabled.')

    def list(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        rows = [_row(alias) for alias in reports.aliases(organization_id=org.pk)]
        if options["format"] == "text":
            rows = [row | {"models": ", ".join(row["models"])} for row in rows]
        write_rows(self.stdout, rows, format=options["format"])

    def update(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        changes = changes_in(options, ("models", "retries"))
        # Read and written under one lock, or two commands could each undo the other's change.
        with transaction.atomic():
            locked(org.pk)
            alias = _the_alias(org, options["name"])
            others = reports.alias_names(organization_id=org.pk, but=alias.pk)
            form = _checked(org, alias_values(alias) | changes, others=others)
            operations.update_alias(
                organization_id=org.pk,
                alias_id=alias.pk,
                terms=form.terms(),
                enabled=options["enabled"],
            )
        self._warn(form)
        self.stdout.write(f'Updated alias "{form.terms().name}" of {org.slug}.')

    def delete(self, options: dict[str, Any]) -> None:
        org = organization(options["slug"])
        alias = _the_alias(org, options["name"])
        operations.delete_alias(organization_id=org.pk, alias_id=alias.pk)
        self.stdout.write(f'Deleted alias "{alias.name}" of {org.slug}.')

    def _warn(self, form: AliasForm) -> None:
        if doubtful := form.known.unknown(form.terms().models):
            self.stderr.write(f"Warning: unknown model: {', '.join(doubtful)}")


def _checked(org: Organization, values: dict[str, Any], *, others: Collection[str]) -> AliasForm:
    return checked(AliasForm(as_typed(values), known=known_models(org.pk), other_aliases=others))


def _the_alias(org: Organization, name: str) -> ModelAlias:
    return the_named(ModelAlias.objects, org, name, what="alias")


def _row(alias: ModelAlias) -> dict[str, Any]:
    return {
        "name": alias.name,
        "enabled": alias.enabled,
        "models": alias.models,
        "retries": alias.retries,
        "id": str(alias.pk),
    }
