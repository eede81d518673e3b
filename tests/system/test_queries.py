"""Every page and file refuses a query parameter that it does not know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

import pytest
from django.http import QueryDict
from django.test import Client
from django.urls import resolve
from django.utils.timezone import now

from costs.core.calendar.moments import EARLIEST
from costs.explorer.forms import CostForm
from gateway.alerts.forms import AlertFilterForm
from gateway.http.addresses import PREFIXES
from gateway.requests.filters import RequestFilterForm
from orgs.console.queries import parameters_of
from orgs.models import Organization, User
from tests.cast import CLIENTS
from tests.system.routes import all_routes, operators_routes

pytestmark = pytest.mark.django_db

AN_ID: Final = "01a208b6-8176-71c0-bcb7-5d3dc01d4fca"
UNKNOWN: Final = "unknownthing"
# They redirect with their whole query, and the page there checks it.
REDIRECTS: Final = {"admin/ai/", "admin/ai/<path:rest>", "costs/"}
PAGES: Final = sorted(
    route
    for route in all_routes()
    if not f"/{route}".startswith(PREFIXES) and route not in REDIRECTS
)
FILES: Final = [route for route in PAGES if route.endswith((".csv", ".json"))]


def address(route: str) -> str:
    return "/" + re.sub(r"<[^>]+>", AN_ID, route)


@pytest.fixture
def signed_in(client_for: CLIENTS, admin_user: User) -> Client:
    return client_for(admin_user)


@pytest.mark.parametrize("route", PAGES)
def test_page_refuses_unknown_parameter_by_name(signed_in: Client, route: str) -> None:
    for response in (
        signed_in.get(f"{address(route)}?{UNKNOWN}=1"),
        signed_in.get(f"{address(route)}?org=acme&{UNKNOWN}="),
        signed_in.post(f"{address(route)}?{UNKNOWN}=1"),
    ):
        assert response.status_code == HTTPStatus.BAD_REQUEST
        assert UNKNOWN in response.content.decode()
        assert "Known parameters: " in response.content.decode()


@pytest.mark.parametrize("route", PAGES)
def test_page_refuses_parameter_that_comes_twice(signed_in: Client, route: str) -> None:
    view = parameters_of(resolve(address(route)).func)
    for name in {*(view.names or ()), "org"} - {*view.repeated}:
        response = signed_in.get(f"{address(route)}?{name}=&{name}=")
        assert response.status_code == HTTPStatus.BAD_REQUEST
        assert "must be given only once" in response.content.decode()


def test_redirect_keeps_unknown_parameter_for_its_page(signed_in: Client) -> None:
    for path, page in (("/costs/", "/costs"), ("/admin/ai/", "/admin/ai")):
        answer = signed_in.get(f"{path}?{UNKNOWN}=1")
        assert answer["Location"] == f"{page}?{UNKNOWN}=1"


def test_django_admin_keeps_its_own_parameters(signed_in: Client, admin_user: User) -> None:
    assert "login/" in "".join(operators_routes())
    assert signed_in.get("/admin/login/?next=/admin/&x=1").status_code != HTTPStatus.BAD_REQUEST


def test_unknown_parameter_is_answered_in_format_of_its_place(signed_in: Client) -> None:
    page = signed_in.get("/costs?teamid=x")
    assert "did you mean &quot;teamId&quot;?" in page.content.decode()
    part = signed_in.get("/costs?teamid=x", headers={"HX-Request": "true"})
    assert part["Content-Type"] == "text/plain; charset=utf-8"
    assert part.content.decode().startswith('Unknown parameter "teamid"; did you mean "teamId"?')
    assert signed_in.get("/costs.csv?teamid=x")["Content-Type"] == "text/plain; charset=utf-8"
    [[fault]] = signed_in.get("/costs.json?teamid=x").json()["errors"].values()
    assert fault["message"] == f"{part.content.decode()}"


@pytest.mark.parametrize("route", FILES)
def test_file_names_unknown_parameter_in_own_format(signed_in: Client, route: str) -> None:
    response: Any = signed_in.get(f"/{route}?{UNKNOWN}=1")
    if route.endswith(".json"):
        assert list(response.json()["errors"]) == [UNKNOWN]
    else:
        assert response.content.decode().startswith(f"{UNKNOWN}: ")


def test_untrusted_name_is_escaped_and_cut(signed_in: Client) -> None:
    for query in ("%3Cscript%3E=1", "%00=1", "a" * 5_000 + "=1", "%ED%A0%80=1", "%0d%0aX:1=1"):
        for path in ("/costs", "/costs.csv", "/costs.json", "/admin/ai/requests/new"):
            response = signed_in.get(f"{path}?{query}")
            assert response.status_code == HTTPStatus.BAD_REQUEST
            assert "html" not in response["Content-Type"] or b"<script>" not in response.content
            assert len(response.content) < 10_000


def linked(html: str) -> Iterator[str]:
    """Yield the addresses of links that have a query."""
    for found in re.findall(r'href="(/[^"]*\?[^"]*)"', html):
        yield found.replace("&amp;", "&")


def test_links_of_pages_are_answered(signed_in: Client, acme: Organization) -> None:
    seen: set[str] = set()
    for path in ("/admin/ai", "/costs", "/costs/budgets", "/costs/alerts", "/admin/ai/policies"):
        html = signed_in.get(path).content.decode()
        for link in {*linked(html)} - seen:
            seen.add(link)
            assert signed_in.get(link).status_code < HTTPStatus.BAD_REQUEST, link
    assert len(seen) > 5


def test_declared_parameters_are_fields_of_form() -> None:
    for pages, form in (
        (("/costs",), CostForm(QueryDict(), today=EARLIEST)),
        (
            ("/admin/ai", "/admin/ai/requests/new"),
            RequestFilterForm({}, organization=Organization(), moment=now()),
        ),
        (("/costs/alerts",), AlertFilterForm({})),
    ):
        declared = {
            name for page in pages for name in parameters_of(resolve(page).func).names or ()
        }
        assert declared - {"live", "older_than"} == set(form.fields)
