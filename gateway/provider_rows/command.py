"""`manage.py providers`: add, change, list, check and remove providers, rotate secrets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.timezone import now

from costs.prices.book import PriceBook, load_price_book
from gateway.models import Provider
from gateway.provider_rows import operations, pricing
from gateway.provider_rows.discovery import Discovered, discover
from gateway.provider_rows.options import add_secret, add_values, secret_in, values_in
from gateway.provider_rows.presets import beginning
from gateway.provider_rows.reports import ProviderLine, all_lines, row_line
from gateway.provider_rows.terms import ProviderTerms
from orgs.console.commands import ActionCommand, add_format, organization, write_rows
from orgs.core.errors import Invalid, Missing


class Command(ActionCommand):
    """Providers of the environment and of the database. No part of a secret is ever shown."""

    help = "Add, change, list, check and remove providers. Changes apply from the next request."

    def actions(self, add: Callable[..., CommandParser]) -> None:
        added = add("add", self.add, help="add a provider; its models are called NAME/model")
        _add_name(added)
        added.add_argument("--org", metavar="SLUG", help="only for this organization")
        added.add_argument("--preset", metavar="NAME", help="begin with a known server's values")
        add_values(added)
        add_secret(added)
        update = add("update", self.update, help="change the given options and keep the rest")
        _add_name(update)
        update.add_argument("--rename", metavar="NAME", help="the new name")
        switch = update.add_mutually_exclusive_group()
        switch.add_argument("--enable", dest="enabled", action="store_const", const=True)
        switch.add_argument("--disable", dest="enabled", action="store_const", const=False)
        add_values(update)
        add_secret(update)
        add_format(add("list", self.list_all, help="list providers, and where they are configured"))
        check = add("check", self.check_all, help="ask each for its models; exit 1 if one fails")
        check.add_argument("name", metavar="NAME", nargs="?", help="only this provider")
        check.add_argument("--models", action="store_true", help="show the models and their prices")
        check.add_argument(
            "--take", metavar="MODEL,…", help="add models, with the prices that are known"
        )
        add_format(check)
        remove = add("remove", self.remove, help="remove a provider and its secret")
        _add_name(remove)
        rotate = add("rotate-secret", self.rotate, help="replace a secret; running calls keep it")
        rotate.add_argument("name", metavar="NAME", nargs="?", help="the provider")
        rotate.add_argument(
            "--all",
            action="store_true",
            help="seal all secrets again, with the first key of PULSE_SECRETS_KEY",
        )
        add_secret(rotate)

    def add(self, options: dict[str, Any]) -> None:
        org = organization(options["org"]) if options["org"] is not None else None
        given = values_in(options)
        title, values = beginning(preset=options["preset"], base_url=given.get("base_url"))
        values = {"title": options["name"], "dialects": []} | values | given
        if "{" in values.get("base_url", "{"):
            is_known = title and "base_url" not in given
            known = f"; of {title} it is {values['base_url']}" if is_known else ""
            raise Invalid(f"--base-url must be given{known}")
        row = operations.add_provider(
            terms=ProviderTerms(name=options["name"], **values),
            secret=secret_in(options) or operations.NO_SECRET,
            org_id=org.pk if org else None,
            by_command=True,
        )
        if title:
            self.stdout.write(f"Began with the values of {title}.")
        owner = f" of {org.slug}" if org else ""
        self.stdout.write(f'Added provider "{row.name}"{owner}; models: {row.name}/MODEL.')
        self._warn(row)

    def update(self, options: dict[str, Any]) -> None:
        changes = values_in(options)
        if options["rename"] is not None:
            changes["name"] = options["rename"]
        secret = secret_in(options)
        if not changes and secret is None and options["enabled"] is None:
            raise Invalid("At least one change must be given; see --help")
        row = operations.change_provider(
            _row(options["name"]),
            changes=changes,
            secret=secret,
            enabled=options["enabled"],
            by_command=True,
        )
        self.stdout.write(f'Updated provider "{row.name}".')
        self._warn(row)

    def list_all(self, options: dict[str, Any]) -> None:
        write_rows(self.stdout, [_listed(line) for line in all_lines()], format=options["format"])

    def check_all(self, options: dict[str, Any]) -> None:
        lines = [line for line in all_lines() if _is_checked(line, options["name"])]
        if options["name"] is not None and not lines:
            raise Missing(f'Provider "{options["name"]}" does not exist or is not configured')
        taken = [each for each in map(str.strip, (options["take"] or "").split(",")) if each]
        if taken and options["name"] is None:
            raise Invalid("--take must be given with the name of a provider")
        found = discover([line.config for line in lines])
        failed = [each.provider for each in found if each.answers is False]
        took = _take(lines[0], found[0], taken) if taken and not failed else None
        by_name = {line.config.name: line for line in lines}
        if options["models"]:
            rows = [row for each in found for row in _models(each, by_name[each.provider])]
        else:
            rows = [_checked(each) for each in found]
            if took is not None and options["format"] == "json":
                rows[0] |= {"taken": taken, "priced": [*took.priced], "unpriced": [*took.unpriced]}
        write_rows(self.stdout, rows, format=options["format"])
        if failed:
            raise CommandError(f"No valid answer from {', '.join(failed)}")
        if took is not None and options["format"] == "text":
            self._write_taken(took, taken, provider=lines[0].config.name)

    def remove(self, options: dict[str, Any]) -> None:
        row = _row(options["name"])
        operations.remove_provider(row)
        self.stdout.write(f'Removed provider "{row.name}".')

    def rotate(self, options: dict[str, Any]) -> None:
        secret = secret_in(options)
        if options["all"]:
            if secret is not None or options["name"] is not None:
                raise Invalid("--all takes neither a name nor a secret")
            count, unreadable = operations.reseal_all()
            self.stdout.write(f"Sealed {count} secrets again.")
            if unreadable:
                raise CommandError(f"Secrets that cannot be opened: {', '.join(unreadable)}")
            return
        if options["name"] is None or secret is None:
            raise Invalid("A name and one of --secret-stdin, --secret-env, --secret-file required")
        row = operations.rotate_secret(_row(options["name"]), secret=secret, by_command=True)
        self.stdout.write(f'Rotated the secret of "{row.name}"; running calls keep the old one.')
        self._warn(row)

    def _write_taken(self, took: pricing.Taken, names: list[str], *, provider: str) -> None:
        self.stdout.write(f"Took {len(names)} models.")
        if took.priced:
            self.stdout.write(f"Prices of {', '.join(took.priced)}: {took.source}.")
        for name in took.unpriced:
            self.stdout.write(
                f"{name} has no price, so calls to it are refused: "
                f"prices set {name} --provider {provider}"
            )

    def _warn(self, row: Provider) -> None:
        if fault := row_line(row).fault:
            self.stderr.write(f"Warning: {fault}")


def _take(line: ProviderLine, found: Discovered, names: list[str]) -> pricing.Taken:
    """Add models of a provider, with the prices that are known."""
    if line.row is None:
        raise Invalid("Only models of an added provider can be taken")
    if unknown := [name for name in names if name not in found.models]:
        raise Invalid(f"The provider does not list {', '.join(unknown)}")
    return pricing.take(line.row, names, load_price_book(), at=now())


def _add_name(action: CommandParser) -> None:
    action.add_argument("name", metavar="NAME", help="the provider")


def _row(name: str) -> Provider:
    found = Provider.objects.filter(name=name.strip().lower()).first()
    if found is None:
        raise Missing(f'Provider "{name}" does not exist')
    return found


def _listed(line: ProviderLine) -> dict[str, Any]:
    config, row = line.config, line.row
    return {
        "provider": config.name,
        "of": line.owner,
        "configured": line.enabled and line.fault is None,
        "key_from": line.key_from,
        "base_url": config.base_url or None,
        "base_url_from": line.base_url_from,
        "dialects": line.apis,
        "weight": row.weight if row else None,
        "order": row.order if row else None,
        "regions": list(config.regions),
        "fault": line.fault if row else None,
    }


def _is_checked(line: ProviderLine, name: str | None) -> bool:
    """Whether a provider is asked: by name, or all that are in use."""
    if name is not None and line.config.name != name.strip().lower():
        return False
    if line.row is None:
        return line.fault is None
    return line.enabled or name is not None


def _checked(found: Discovered) -> dict[str, Any]:
    return {
        "provider": found.provider,
        "answers": found.answers,
        "message": found.sentence,
        "models": len(found.models),
    }


def _models(found: Discovered, line: ProviderLine) -> list[dict[str, Any]]:
    book: PriceBook = load_price_book()
    at, listed = now(), line.row.models if line.row else []
    return [
        {
            "provider": found.provider,
            "model": name,
            "listed": name in listed,
            "price": pricing.price_state(name, line.config, book, at=at),
        }
        for name in found.models
    ]
