"""Times, queries and table scans of each page on a year of a million requests.

    python manage.py invent year            # once, on each database; minutes
    python -m benchmarks.pages year         # on DATABASE_URL

Pages are asked in this process, signed in as a member, each several times; the time is the median
of whole answers, templates included, and beside it the least: what the page takes when nothing
else has the processor. Every statement is explained once: one that reads a big table from end to
end is named. Ends with an error when a page breaks one of the limits.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import django
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from benchmarks.many_models import FILES, PAGES, PREVIEWS, add_models

if TYPE_CHECKING:
    from orgs.models import Organization

TIMES: Final = 7
MEDIAN_MS_MAX: Final = 150
QUERIES_MAX: Final = 12
# A preview makes the change, reads its prices and takes it back.
PREVIEW_QUERIES_MAX: Final = 30
BIG: Final = ("ai_request_log", "cost_event", "hold", "hold_period")
DIMENSIONS: Final = (
    *("model", "provider", "team", "project", "app", "client", "user", "task", "key", "day"),
)
PAIRS: Final = (("day", "model"), ("day", "user"), ("user", "model"), ("team", "app"))
SCANS: Final = {
    "postgresql": re.compile(r"Seq Scan on (\w+)"),
    "sqlite": re.compile(r"SCAN (\w+)(?! USING)"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One page: its median time, its queries and the big tables that they scan."""

    path: str
    is_preview: bool
    median_ms: float
    least_ms: float
    queries: int
    slowest_query_ms: float
    size_kib: float
    scans: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        is_file = ".csv" in self.path or ".json" in self.path
        is_quick = self.median_ms <= MEDIAN_MS_MAX or is_file
        is_short = self.queries <= (PREVIEW_QUERIES_MAX if self.is_preview else QUERIES_MAX)
        return is_quick and is_short and not self.scans


def main() -> int:
    """Measure every page, report, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages")
    parser.add_argument("slug", help="an organization created by `manage.py invent`")
    parser.add_argument("--all", action="store_true", help="print every page, not only each kind")
    parser.add_argument(
        "--models", action="store_true", help="only the pages of models and /status"
    )
    options = parser.parse_args()
    organization, client = _signed_in(options.slug)
    _say(f"{connection.vendor}, {_rows(organization)}")
    _say(f"{'median ms':>10} {'least ms':>9} {'queries':>8} {'slowest ms':>11} {'KiB':>7}  page")
    bad = 0
    kinds = [] if options.models else [*_pages(organization)]
    for name, found in (
        *((name, [_measured(client, path) for path in paths]) for name, paths in kinds),
        *_measured_models(organization),
    ):
        bad += sum(not each.is_good for each in found)
        for each in found:
            if options.all or not each.is_good:
                _say(_line(each))
        _say(_kind(name, found))
    _say(f"{bad} pages past a limit ({MEDIAN_MS_MAX} ms, {QUERIES_MAX} queries, no scan)")
    return 1 if bad else 0


def _pages(organization: Organization) -> Iterator[tuple[str, list[str]]]:
    yield "requests", ["/admin/ai", *_request_lists(organization)]
    yield (
        "other pages",
        [
            *(f"/admin/ai/{name}" for name in ("keys", "policies", "playground")),
            *("/settings/organization", "/api/ai/requests"),
            f"/admin/ai/requests/{_newest(organization).pk}",
        ],
    )
    for period in ("30d", "365d"):
        groupings = [(one, "") for one in DIMENSIONS] + list(PAIRS)
        for filters in _cost_filters(organization):
            yield (
                f"/costs, {period}, {filters or 'no filter'}",
                [
                    f"/costs?period={period}&groupBy={a}&thenBy={b}&{filters}".rstrip("&")
                    for a, b in groupings
                ],
            )
        days = _in_the_middle(organization, int(period.removesuffix("d")))
        yield (
            f"/costs, {period} that end in the middle of a month",
            [f"/costs?{days}&groupBy={a}&thenBy={b}" for a, b in groupings],
        )
    yield "csv", ["/costs.csv?period=365d&groupBy=user&thenBy=day"]


def _request_lists(organization: Organization) -> list[str]:
    """Filters with common, rare and absent values; a place deep in the list."""
    newest = _newest(organization)
    values = {
        "userId": newest.user_id or "",
        "teamId": newest.team_id,
        "keyId": newest.key_id or "",
    }
    filters = [
        *(f"status={status}" for status in ("ok", "blocked", "error", "unknown", "pending")),
        *("model=gpt-4o-mini", "model=o3-mini-2025-01-31", "model=unknown"),
        *("provider=mistral", "provider=unknown"),
        *(f"{name}={value}" for name, value in values.items() if value),
        *(f"{name}=unknown" for name in ("userId", "teamId", "projectId", "appId", "clientId")),
        *("clientId=client-007", "taskType=summary", "status=error&teamId=legal"),
        *("period=today", "period=30d&status=unknown", f"requestId={newest.pk}"),
        "keyId=00000000-0000-4000-8000-000000000000",
    ]
    half_a_year_ago = newest.occurred_at - timedelta(days=182)
    place = f"{half_a_year_ago:%Y%m%dT%H%M%S.%f}_{newest.pk}"
    return [f"/admin/ai?{each}" for each in (*filters, f"before={place}")]


def _cost_filters(organization: Organization) -> list[str]:
    person = organization.memberships.order_by("id")[5].user_id
    return ["", "model=gpt-4o-mini", "teamId=support", f"userId={person}", "without=userId"]


def _in_the_middle(organization: Organization, days: int) -> str:
    """So many days until a 15th of a month: the most days that are not in whole months."""
    last = (_newest(organization).occurred_at.date() - timedelta(days=15)).replace(day=15)
    return f"from={last - timedelta(days=days - 1)}&to={last}"


def _measured_models(organization: Organization) -> Iterator[tuple[str, list[Measured]]]:
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(add_models(organization))
    yield "models and status", [_measured(client, path) for path in PAGES]
    yield "models as files", [_measured(client, path) for path in FILES]
    yield "previews", [_measured(client, path, sent) for path, sent in PREVIEWS]


def _measured(client: Client, path: str, sent: Mapping[str, Any] | None = None) -> Measured:
    _ask(client, path, sent)  # templates are read once
    with CaptureQueriesContext(connection) as asked:
        size = _ask(client, path, sent)
    queries = list(asked.captured_queries)  # the next request would clear them
    times_ms = []
    for _ in range(TIMES):
        started_s = time.perf_counter()
        _ask(client, path, sent)
        times_ms.append((time.perf_counter() - started_s) * 1000)
    return Measured(
        path=f"preview of {path}" if sent else path,
        is_preview=sent is not None,
        median_ms=statistics.median(times_ms),
        least_ms=min(times_ms),
        queries=len(queries),
        slowest_query_ms=max((float(query["time"]) for query in queries), default=0) * 1000,
        size_kib=size / 1024,
        scans=tuple(sorted({table for query in queries for table in _scanned(query["sql"])})),
    )


def _ask(client: Client, path: str, sent: Mapping[str, Any] | None = None) -> int:
    response: Any = client.post(path, sent) if sent else client.get(path)
    if response.status_code != 200:
        raise SystemExit(f"{path} answered {response.status_code}")
    body = response.streaming_content if response.streaming else [response.content]
    return sum(len(piece) for piece in body)


def _scanned(statement: str) -> list[str]:
    """Return the big tables that the statement scans."""
    if not re.match(r"\s*(SELECT|WITH)\b", statement):
        return []
    explain = "EXPLAIN " if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN "
    plan = ""
    with suppress(django.db.Error), connection.cursor() as cursor:
        cursor.execute(explain + statement.replace("%", "%%"), [])
        plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
    return [name for name in SCANS[connection.vendor].findall(plan) if name in BIG]


def _signed_in(slug: str) -> tuple[Organization, Client]:
    from orgs.models import Membership, Organization  # noqa: PLC0415  after django.setup

    organization = Organization.objects.filter(slug=slug).first()
    if organization is None:
        raise SystemExit(f'Organization "{slug}" does not exist; see `manage.py invent --help`')
    member = Membership.objects.filter(org=organization, user__memberships__org=organization)
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(member.order_by("user__email")[1].user)
    return organization, client


def _newest(organization: Organization) -> Any:
    from gateway.models import AiRequestLog  # noqa: PLC0415  after django.setup

    return AiRequestLog.objects.filter(org=organization).order_by("-occurred_at")[0]


def _rows(organization: Organization) -> str:
    counts = []
    for table in ("ai_request_log", "cost_event", "daily_cost"):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {table}")  # noqa: S608  our own names
            counts.append(f"{cursor.fetchone()[0]:,} {table} rows")
    return ", ".join(counts)


def _kind(name: str, found: list[Measured]) -> str:
    medians, least = [each.median_ms for each in found], [each.least_ms for each in found]
    return (
        f"{statistics.median(medians):10.1f} {statistics.median(least):9.1f}  {len(found)} of "
        f"{name}; the slowest {max(medians):.1f}, least {max(least):.1f}"
    )


def _line(each: Measured) -> str:
    scans = f"   SCANS {', '.join(each.scans)}" if each.scans else ""
    mark = "" if each.is_good else "   PAST A LIMIT"
    return (
        f"{each.median_ms:10.1f} {each.least_ms:9.1f} {each.queries:8} "
        f"{each.slowest_query_ms:11.0f} {each.size_kib:7.0f}  {each.path}{scans}{mark}"
    )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pulse.settings")
    django.setup()
    sys.exit(main())
