"""The page of a session: its requests in order, its costs by agent, its silence and its limit."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.utils.html import escape
from django.utils.timezone import now
from pytest_django import DjangoAssertNumQueries

from costs.models import SessionCost
from gateway.models import AiRequestLog
from gateway.requests import sessions
from gateway.requests.sessions import AgentSession, Silence, session
from orgs.models import Organization, User
from tests.cast import CLIENTS
from tests.costs.charges import NOON, charge
from tests.factories import AiRequestLogFactory, PolicyFactory

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

LONG = "日本語/セッション?№=7&\"<b>'; %2F.. " + "長" * 40


@pytest.fixture
def person(client_for: CLIENTS, member_user: User) -> Client:
    """A member's browser."""
    return client_for(member_user)


def address(session_id: str, **more: str) -> str:
    return f"/admin/ai/session?{urlencode({'id': session_id, **more})}"


def turn(org: Organization, at_s: float = 0, took_s: float = 1, **fields: Any) -> AiRequestLog:
    """Make a request of a session that began so many seconds after NOON."""
    occurred_at = NOON + timedelta(seconds=at_s)
    values = {"session_id": "s", "completed_at": occurred_at + timedelta(seconds=took_s)}
    made: AiRequestLog = AiRequestLogFactory.create(
        org=org, occurred_at=occurred_at, **values | fields
    )
    return made


def found(org: Organization, session_id: str = "s") -> AgentSession:
    made = session(organization_id=org.pk, session_id=session_id, moment=now())
    assert made is not None
    return made


def shown(html: str) -> list[str]:
    """Return the ids of the requests in the page's table, in its order."""
    return re.findall(r'id="row-([0-9a-f-]+)"', html)


def test_page_has_requests_in_order_with_their_agents(acme: Organization, person: Client) -> None:
    later = turn(acme, 9, agent_id="explorer")
    first = turn(acme, 0)
    blocked = turn(acme, 5, status="blocked", code="budget_limit", cost_nanoeur=0)
    turn(acme, 6, session_id="another")
    html = person.get(address("s")).content.decode()
    assert shown(html) == [str(row.pk) for row in (first, blocked, later)]
    assert "agent explorer" in html


def test_totals_are_exact_for_session_and_agent(acme: Organization, person: Client) -> None:
    turn(acme)
    turn(acme, 3, status="blocked")
    charge(acme, 1_000_000_007, session_id="s", input_tokens=100, output_tokens=3)
    charge(acme, 5, session_id="s", agent_id="a", input_tokens=300, output_tokens=4)
    charge(acme, 7, session_id="another")
    charge(acme, 11)
    made = found(acme)
    assert (made.requests, made.total.requests) == (2, 2)
    assert made.total.amount_nanoeur == 1_000_000_012
    assert (made.total.input_tokens, made.total.output_tokens) == (400, 7)
    assert [(each.agent_id, each.amount_nanoeur) for each in made.agents] == [
        (None, 1_000_000_007),
        ("a", 5),
    ]
    assert '<data value="1000000012" title="1.000000012 EUR exactly">' in (
        person.get(address("s")).content.decode()
    )


def test_cache_read_share_is_of_all_input(acme: Organization) -> None:
    turn(acme)
    assert found(acme).total.cache_read_percent is None
    charge(acme, 1, session_id="s", input_tokens=600)
    line = SessionCost.objects.get()
    line.cache_read_tokens = 451
    line.save()
    assert found(acme).total.cache_read_percent == "75.2"


# --- the longest silence ------------------------------------------------------------------------


def silence(acme: Organization) -> tuple[datetime, float] | None:
    made = found(acme).silence
    return None if made is None else (made.starts_at, made.length.total_seconds())


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_silence_is_longest_time_in_which_no_request_ran(acme: Organization) -> None:
    turn(acme, 0, 10)
    assert silence(acme) is None
    turn(acme, 15, 1)  # 5 s after the end of the one before
    assert silence(acme) == (at(10), 5)
    turn(acme, 20, 100)  # a subagent's, beside which the others go on
    turn(acme, 30, 1)
    assert silence(acme) == (at(10), 5)
    turn(acme, 90, 1)
    turn(acme, 127, 1)
    assert silence(acme) == (at(120), 7)


def test_request_that_runs_has_begun_no_silence(acme: Organization) -> None:
    turn(acme, 0, 1)
    turn(acme, 3, completed_at=None, status="pending")
    assert silence(acme) == (at(1), 2)


@pytest.mark.parametrize(
    ("length_s", "words"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3_599, "59 min 59 s"),
        (3_600, "1 h 0 min"),
        (90_061, "1 d 1 h"),
    ],
)
def test_silence_is_shown_in_two_units(length_s: float, words: str) -> None:
    assert Silence(starts_at=NOON, length=timedelta(seconds=length_s), is_of_last=False).words == (
        words
    )


# --- limits -------------------------------------------------------------------------------------


def test_tightest_limit_is_shown(acme: Organization, person: Client) -> None:
    turn(acme)
    assert found(acme).limit is None
    for name, euros, mode in (("Loose", 9, "on"), ("Tight", 2, "on"), ("Off", 1, "off")):
        PolicyFactory.create(
            org=acme, name=name, mode=mode, max_cost_per_session_nanoeur=euros * 10**9
        )
    assert "per session, policy “Tight”" in person.get(address("s")).content.decode()


def test_pages_continue_where_last_one_ended(
    acme: Organization, person: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "REQUESTS_PER_PAGE", 3)
    rows = [turn(acme, at_s // 2) for at_s in range(7)]  # two at each moment
    seen: list[str] = []
    url = address("s")
    while url:
        html = person.get(url).content.decode()
        seen += shown(html)
        more = re.search(r'rel="next" href="\?([^"]+)"', html)
        url = f"/admin/ai/session?{more[1].replace('&amp;', '&')}" if more else ""
    assert seen == [str(row.pk) for row in rows]
    reply = person.get(address("s", after="wrong"))
    assert (reply.status_code, b"after is not a valid cursor" in reply.content) == (400, True)


def test_page_takes_few_queries_for_any_number_of_requests(
    acme: Organization, person: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for at_s in range(sessions.REQUESTS_PER_PAGE + 1):
        turn(acme, at_s, agent_id=f"agent-{at_s}")
        charge(acme, at_s, session_id="s", agent_id=f"agent-{at_s}")
    with django_assert_max_num_queries(20):
        html = person.get(address("s")).content.decode()
    assert len(shown(html)) == sessions.REQUESTS_PER_PAGE
    assert "The agents with the highest costs are shown" in html
    assert found(acme).agents[0].agent_id == f"agent-{sessions.REQUESTS_PER_PAGE}"


# --- any id -------------------------------------------------------------------------------------


def test_page_of_any_id_is_reached_from_request_and_costs(
    acme: Organization, person: Client
) -> None:
    row = turn(acme, session_id=LONG, agent_id=LONG)
    charge(acme, 5, session_id=LONG, agent_id=LONG)
    link = f'href="{escape(address(LONG))}"'
    assert link in person.get(f"/admin/ai/requests/{row.pk}").content.decode()
    june = "from=2025-06-01&to=2025-06-30"
    assert link in person.get(f"/costs?groupBy=session&{june}").content.decode()
    html = person.get(address(LONG)).content.decode()
    assert escape(LONG) in html
    assert LONG not in html  # it is text of a caller
    [of_agent] = re.findall(r'<a href="(/admin/ai\?[^"]+agentId[^"]+)"', html)
    assert shown(person.get(of_agent.replace("&amp;", "&")).content.decode()) == [str(row.pk)]
    [csv] = re.findall(r'<a [^>]*href="(/admin/ai/requests\.csv\?[^"]+)"', html)
    reply = person.get(csv.replace("&amp;", "&"))
    assert b"".join(reply.streaming_content).count(str(row.pk).encode()) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("session_id", ["", "unknown", "s ", "a\x00b", "x" * 129, "theirs"])
def test_session_that_organization_does_not_have_is_not_found(
    acme: Organization, globex: Organization, person: Client, session_id: str
) -> None:
    turn(acme)
    turn(globex, session_id="theirs")
    assert person.get(address(session_id)).status_code == 404
    assert person.get("/admin/ai/session").status_code == 404


def test_list_is_filtered_by_session_and_agent(acme: Organization, person: Client) -> None:
    main, sub = turn(acme), turn(acme, 1, agent_id="a")
    turn(acme, 2, session_id="S", agent_id="a")

    def listed(query: str) -> list[str]:
        return sorted(shown(person.get(f"/admin/ai?{query}").content.decode()))

    assert listed("sessionId=s") == sorted(map(str, (main.pk, sub.pk)))
    assert listed("sessionId=s&agentId=a") == [str(sub.pk)]
    assert len(listed("agentId=a")) == 2


def test_client_that_caller_named_is_marked(acme: Organization, person: Client) -> None:
    row = turn(acme, client_id="c-1", client_proved=False)
    assert "c-1 (unproved)" in person.get(f"/admin/ai/requests/{row.pk}").content.decode()
    AiRequestLog.objects.update(client_proved=True)
    assert "c-1 (unproved)" not in person.get(f"/admin/ai/requests/{row.pk}").content.decode()
