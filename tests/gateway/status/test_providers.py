"""What `/status` and its JSON show of providers, who sees it, and who can check one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import strip_tags
from pytest_django import Settings

from gateway.call.runtime import Gateway
from gateway.models import Provider
from gateway.provider_rows import views
from gateway.providers.routing.breaker import FAILURES_MAX, OPEN_FIRST_S
from gateway.providers.routing.health import Health
from gateway.status import reports
from orgs.models import Organization, User
from tests.factories import (
    MembershipFactory,
    ProviderFactory,
    RateFactory,
    UserFactory,
)
from tests.fake_provider.thread import FakeProvider
from tests.gateway.attempts import OPENAI
from tests.gateway.conftest import Asking

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

Clients = Callable[[User], Client]
SECRET: Final = "canary-5f0b9e7712"
CHECK: Final = "/admin/ai/providers/check"


@pytest.fixture(autouse=True)
def sealing_key(gateway: Gateway, settings: Settings) -> None:
    """A key that seals secrets, and a gateway that has kept nothing of another test."""
    settings.SECRETS_KEYS = ("a-key-that-seals-secrets-in-tests-0123456789",)


@pytest.fixture
def row(vendors: FakeProvider) -> str:
    """The name of a row of the installation, with a price and an address of this machine."""
    RateFactory.create(provider="eu")
    ProviderFactory.create(
        name="eu",
        base_url=vendors.base_url("openai"),
        allow_loopback=True,
        auth="bearer",
        secret=SECRET,
        models=[OPENAI],
    )
    return "eu"


def page(client: Client) -> str:
    response = client.get("/status")
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def shown(client: Client, name: str) -> dict[str, Any]:
    """Return a provider of the JSON."""
    found = client.get("/status.json").json()["providers"]
    return next(each for each in found if each["provider"] == name)


def line(text: str, name: str) -> str:
    """Return a provider's row of the page, without markup between its words."""
    return text.partition(f'scope="row">{name}')[2].partition("</tr>")[0]


def test_member_sees_providers_that_calls_can_go_to(
    client_for: Clients, member_user: User, acme: Organization, globex: Organization
) -> None:
    for name, org in (("shared", None), ("ours", acme), ("theirs", globex)):
        ProviderFactory.create(name=name, org=org, auth="bearer", secret=SECRET)
    ProviderFactory.create(name="disabled", enabled=False)
    ProviderFactory.create(name="sealed", auth="bearer", secret="env:NO_SUCH_VARIABLE")
    text = page(client_for(member_user))
    assert "no recent calls" in line(text, "shared")
    assert all(f'scope="row">{name}' in text for name in ("ours", "sandbox"))
    assert "cannot be called" in line(text, "sealed")
    hidden = ("theirs", "disabled", "mistral", "models.example.org", "NO_SUCH_VARIABLE", SECRET)
    assert not [each for each in hidden if each in text]
    assert not [each for each in (CHECK, "In flight", "JSON") if each in text]


def test_operator_sees_all_providers_without_secrets(
    operator: Client, globex: Organization
) -> None:
    ProviderFactory.create(name="theirs", org=globex, auth="bearer", secret=SECRET)
    ProviderFactory.create(name="disabled", enabled=False)
    ProviderFactory.create(name="sealed", auth="bearer", secret="env:NO_SUCH_VARIABLE")
    text = page(operator)
    assert "globex, sealed" in line(text, "theirs")
    assert "off" in line(text, "disabled")
    assert "NO_SUCH_VARIABLE" in line(text, "sealed")
    assert "not configured" in line(text, "mistral")
    assert text.index('scope="row">sealed') < text.index('scope="row">sandbox')  # bad ones first
    assert shown(operator, "theirs") == {
        "provider": "theirs",
        "of": "globex",
        "keyFrom": "sealed",
        "baseUrl": "https://models.example.org/v1",
        "baseUrlFrom": None,
        "enabled": True,
        "fault": None,
        "state": "no recent calls",
        "lastAnswerAt": None,
        "calls": 0,
        "failed": {},
        "errorRate": None,
        "p50Ms": None,
        "p95Ms": None,
        "breaker": "closed",
        "breakerOpensInS": None,
        "inFlight": 0,
    }
    assert SECRET not in text + operator.get("/status.json").content.decode()


def test_json_begins_with_report_of_probes(
    ask: Asking, operator: Client, prices: object, settings: Settings
) -> None:
    probe = ask(method="GET", path="/readyz").json
    found = operator.get("/status.json").json()
    assert found["exchangeRate"].items() > probe.pop("exchangeRate").items()
    assert found.items() > probe.items()
    assert found["version"] == settings.VERSION
    assert found["priceList"]["models"] == 8
    assert found["alerts"] == {"everyS": settings.ALERTS_EVERY_S, "beganAt": None, "isLate": False}
    assert found["sendsEmail"] is settings.SENDS_EMAIL
    assert found["databaseName"].startswith(connection.display_name)


@pytest.fixture(
    params=[
        *("admin_user", "member_user", "auditor_user", "stranger"),
        *({"is_staff": True}, {"is_superuser": True}),
    ],
    ids=str,
)
def person(request: pytest.FixtureRequest, client_for: Clients, acme: Organization) -> Client:
    """A test client signed in as somebody who is no operator: those are staff and superusers."""
    if isinstance(request.param, str):
        return client_for(request.getfixturevalue(request.param))
    user = UserFactory.create(**request.param)
    MembershipFactory.create(org=acme, user=user, role="admin")
    return client_for(user)


def test_only_operators_get_json_and_check(
    client: Client, person: Client, row: str, vendors: FakeProvider
) -> None:
    assert client.get("/status.json")["Location"].startswith("/login")
    assert client.post(CHECK, {"name": row})["Location"].startswith("/login")
    assert CHECK not in page(person)
    assert person.get("/status.json").status_code == 403
    assert person.post(CHECK, {"name": row}).status_code == 404
    assert vendors.calls == []


def test_check_shows_whether_provider_answers(
    operator: Client, row: str, vendors: FakeProvider
) -> None:
    ProviderFactory.create(name="gone", base_url="https://models.invalid/v1")
    assert CHECK in page(operator)
    assert "Eu answers and lists" in operator.post(CHECK, {"name": row}).content.decode()
    text = operator.post(CHECK, {"name": "gone"}).content.decode()
    assert "no valid answer" in text
    assert "the host name could not be resolved" in text
    assert operator.post(CHECK, {"name": "unknown"}).status_code == 404
    assert operator.get(CHECK).status_code == 405


def test_operator_checks_row_of_organization_without_changing_it(
    operator: Client, row: str, globex: Organization, vendors: FakeProvider
) -> None:
    Provider.objects.update(org=globex)
    page = operator.post(CHECK, {"name": row}).content.decode()
    assert "Eu answers and lists" in page
    assert OPENAI in page
    assert "Add selected models" not in page


def test_check_requires_csrf_token(operator: Client, row: str, vendors: FakeProvider) -> None:
    operator.handler.enforce_csrf_checks = True
    assert operator.post(CHECK, {"name": row}).status_code == 403
    assert vendors.calls == []


def test_second_check_at_once_is_refused(operator: Client, row: str, vendors: FakeProvider) -> None:
    with views._CHECKING:
        text = operator.post(CHECK, {"name": row}, follow=True).content.decode()
    assert "Another check is running" in text
    assert vendors.calls == []
    assert "Eu answers" in operator.post(CHECK, {"name": row}).content.decode()


def test_provider_that_fails_and_comes_back_is_shown(
    ask: Asking, gateway: Gateway, operator: Client, row: str, vendors: FakeProvider
) -> None:
    clock = [0.0]
    gateway.health = Health(clock=lambda: clock[-1])
    sent = {"model": f"{row}/{OPENAI}", "prompt": "Say hello", "maxTokens": 50}
    for _ in range(FAILURES_MAX):
        vendors.answers(vendor="openai", status=503)
        assert ask(sent).status == 502
    found = shown(operator, row)
    assert (found["state"], found["breaker"]) == ("failing", "open")
    assert (found["errorRate"], found["failed"]) == (1.0, {"provider_error": FAILURES_MAX})
    assert found["breakerOpensInS"] == OPEN_FIRST_S
    assert "100.0 %" in line(page(operator), row)
    clock.append(OPEN_FIRST_S)
    assert shown(operator, row)["breaker"] == "half-open"
    assert ask(sent).status == 200
    found = shown(operator, row)
    assert (found["state"], found["breaker"], found["inFlight"]) == ("working", "closed", 0)
    assert found["lastAnswerAt"] is not None
    assert found["p50Ms"] is not None
    assert "working" in line(page(operator), row)


def test_hour_has_calls_of_every_process(
    ask: Asking, gateway: Gateway, operator: Client, row: str, vendors: FakeProvider
) -> None:
    sent = {"model": f"{row}/{OPENAI}", "prompt": "Say hello", "maxTokens": 50}
    for status in (200, 503, 400):
        if status != 200:
            vendors.answers(vendor="openai", status=status)
        ask(sent)
    gateway.health = Health()  # as another process has it
    found = shown(operator, row)
    assert (found["calls"], found["failed"], found["state"]) == (
        3,
        {"provider_error": 1},
        "working",
    )
    assert found["lastAnswerAt"] is not None
    assert "33.3 % of 3" in " ".join(strip_tags(line(page(operator), row)).split())


def test_page_reads_few_rows_of_many(
    operator: Client, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(4):
        ProviderFactory.create(name=f"row-{n}")
    page(operator)
    gateway.checks = None  # which is kept for so short a time that a slow machine reads it again
    with CaptureQueriesContext(connection) as few:
        page(operator)
    for n in range(4, 200):
        ProviderFactory.create(name=f"row-{n}")
    gateway.checks = None
    with CaptureQueriesContext(connection) as many:
        response = operator.get("/status")
    assert len(many) == len(few)
    assert response.content.count(b'scope="row"') == 200 + 5
    monkeypatch.setattr(reports, "ROWS_MAX", 100)
    text = page(operator)
    assert text.count('scope="row"') == 100 + 5
    assert "Not all rows of providers are shown" in text
    assert operator.get("/status.json").json()["providersCut"] is True
