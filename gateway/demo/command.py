"""`manage.py invent`: an organization with a year of invented requests, to see pages at size."""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from datetime import date, datetime
from random import Random
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction
from django.utils.timezone import now

from costs.core.money import NANO
from costs.core.rates import Rates
from costs.ledger.connect import open_store
from costs.models import Period
from costs.prices.book import PriceBook, load_price_book
from gateway.core.model_names import price_names
from gateway.demo.invented_rows import InventedDay
from gateway.demo.invention import MODELS, SERVICES, day_of_requests, requests_a_day, sources
from gateway.models import Policy
from orgs.core.errors import OrgsError
from orgs.keys.operations import create_key
from orgs.models import Membership, Organization, User
from orgs.settings.operations import create_organization, set_gateway

PEOPLE: Final = 120
PROMPTS: Final = 20_000
REQUESTS_MAX: Final = 10_000_000
DAYS_MAX: Final = 3650
BAR_CHARS: Final = 30
GROWN: Final = (
    *("ai_request_log", "cost_event", "daily_cost", "hold", "hold_period", "period"),
    "session_cost",
)


class Command(BaseCommand):
    help = (
        "Create an organization with generated requests, holds and charges, to see the pages with "
        "much data. Refused on a production installation (DEBUG=off) and for an existing "
        "organization."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="the new organization's slug")
        parser.add_argument("--requests", type=_count(REQUESTS_MAX), default=1_000_000)
        parser.add_argument(
            "--days", type=_count(DAYS_MAX), default=365, help="the number of days, ending today"
        )
        parser.add_argument("--timezone", default="Europe/Paris")
        parser.add_argument(
            "--seed", type=int, default=1, help="the same seed generates the same requests"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.LOCAL:
            raise CommandError("invent must not run on a production installation (DEBUG=off)")
        prices, moment = load_price_book(), now()
        rates = [_rates(prices, model, moment) for model in range(len(MODELS))]
        try:
            org = _organization(options)
        except OrgsError as refusal:
            raise CommandError(refusal.message) from refusal
        started_s = time.monotonic()
        self._invent(org, rates, options, moment)
        _set_a_limit(org)
        self.stdout.write("Updating the database's statistics.")
        _analyze()
        self.stdout.write(
            f"Generated {options['requests']:,} requests over {options['days']} days for "
            f'"{org.slug}" in {time.monotonic() - started_s:.0f} s.'
        )
        self.stdout.write(f"To see its pages: manage.py members add {org.slug} EMAIL --role admin")

    def _invent(
        self, org: Organization, rates: list[Rates], options: dict[str, Any], moment: datetime
    ) -> None:
        rng, zone = Random(options["seed"]), ZoneInfo(org.timezone)  # noqa: S311  nothing secret
        people = User.objects.filter(memberships__org=org, email__endswith=f"@{org.slug}.example")
        user_ids = sorted(str(pk) for pk in people.values_list("pk", flat=True))
        who, weights = sources(rng, user_ids=user_ids, key_ids=_keys(org))
        prompt_hashes = [f"{rng.getrandbits(256):064x}" for _ in range(PROMPTS)]
        days = requests_a_day(
            rng,
            last=moment.astimezone(zone).date(),
            days=options["days"],
            requests=options["requests"],
        )
        bar = _Bar(self, options["requests"])
        with closing(open_store()) as store:
            for day, count in days:
                rows = InventedDay(org.pk, day, zone, rng, prompt_hashes)
                for request in day_of_requests(
                    rng, day=day, count=count, zone=zone, until=moment, sources=who, weights=weights
                ):
                    rows.add(request, rates[request.model])
                rows.write(store)
                bar.advance(count, day)


class _Bar:
    """A progress bar on a terminal; elsewhere a line for every tenth."""

    def __init__(self, command: BaseCommand, total: int) -> None:
        self._out, self._total, self._done = command.stdout, total, 0
        self._started_s = time.monotonic()

    def advance(self, count: int, day: date) -> None:
        before, self._done = self._done, self._done + count
        part = self._done / self._total
        left_s = (time.monotonic() - self._started_s) * (1 / part - 1) if part else 0
        text = f"{day}  {self._done:>10,} requests, {left_s:.0f} s left"
        if self._out.isatty():
            filled = "#" * int(part * BAR_CHARS)
            self._out.write(f"\r[{filled:<{BAR_CHARS}}] {text} ", ending="")
            self._out.flush()
            if self._done == self._total:
                self._out.write("")
        elif part * 10 // 1 > before / self._total * 10 // 1:
            self._out.write(f"{part:4.0%}  {text}")


def _count(most: int) -> Any:
    def read(text: str) -> int:
        number = int(text)
        if not 1 <= number <= most:
            raise argparse.ArgumentTypeError(f"must be an integer between 1 and {most:,}")
        return number

    return read


def _rates(prices: PriceBook, model: int, moment: datetime) -> Rates:
    provider, requested, answered, _ = MODELS[model]
    names = (*price_names(answered), *price_names(requested))
    rates = prices.rates_for(names, provider, moment)
    if rates is None:
        raise CommandError(f"{requested} has no price; run `manage.py prices load` first")
    return rates


def _organization(options: dict[str, Any]) -> Organization:
    slug = options["slug"]
    with transaction.atomic():
        org = create_organization(
            name=f"Invented ({slug})", slug=slug, timezone=options["timezone"]
        )
        org = set_gateway(org=org, enabled=True)
        people = User.objects.bulk_create(
            User(email=f"person-{number:03d}@{slug}.example", password=make_password(None))
            for number in range(1, PEOPLE + 1)
        )
        Membership.objects.bulk_create(
            Membership(org=org, user=person, role=Membership.Role.MEMBER) for person in people
        )
    return org


def _keys(org: Organization) -> list[UUID]:
    """Make a key for every service; its secret is never shown."""
    return [
        create_key(org=org, name=app, team_id=team, project_id=project, app_id=app)[0].pk
        for app, team, project, _, _ in SERVICES
    ]


def _set_a_limit(org: Organization) -> None:
    """Give the organization a daily limit above the cost of its most expensive day."""
    sums = Period.objects.filter(org=org).values_list("settled_nanoeur", "overrun_nanoeur")
    highest = max((sum(row) for row in sums), default=0)
    limit_eur = max(10, (highest * 5 // 4 // NANO // 10 + 1) * 10)
    Policy.objects.create(org=org, name="Production", max_cost_per_day_nanoeur=limit_eur * NANO)


def _analyze() -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            for table in GROWN:
                cursor.execute(f"VACUUM (ANALYZE) {table}")
        else:
            cursor.execute("ANALYZE")
