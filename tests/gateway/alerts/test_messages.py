"""Texts of alerts: names in them add no lines, markup, mentions or links."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.alerts.delivery.messages import as_email, as_json, of_alert
from orgs.models import Organization
from tests.factories import AlertFactory


def sent(name: str, organization: str = "Acme") -> tuple[dict[str, Any], str, str]:
    """Return the webhook's body, and subject and text of the mail, of an alert with the name."""
    org = Organization(name=organization, slug="acme")
    alert = AlertFactory.build(org=org, sentence=f'App "{name}" costs more.')
    message = of_alert(alert, org, base_url="https://pulse.example.org")
    return json.loads(as_json(message)), *as_email(message)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        *(("@all", "＠all"), ("@channel @here", "＠channel ＠here"), ("a@everyone", "a＠everyone")),  # noqa: RUF001
        *(("<!channel>", "&lt;!channel&gt;"), ("<@U1>", "&lt;＠U1&gt;"), ("&lt;", "&amp;lt;")),  # noqa: RUF001
        *(("*bold*", "＊bold＊"), ("_it_", "＿it＿"), ("__b__", "＿＿b＿＿")),  # noqa: RUF001
        *(("~no~", "～no～"), ("`code`", "｀code｀"), ("||x||", "｜｜x｜｜")),  # noqa: RUF001
        ("[Sign in](https://evil.example)", "［Sign in］(https：//evil.example)"),  # noqa: RUF001
        ("![](http://evil.example/x.png)", "!［］(http：//evil.example/x.png)"),  # noqa: RUF001
        *(("www.evil.example", "www．evil.example"), ("\\*x", "＼＊x"), ("# x", "＃ x")),  # noqa: RUF001
        *(("team_1", "team_1"), ("gpt-4o (EU), 3 %", "gpt-4o (EU), 3 %"), ("a:b/c", "a:b/c")),
    ],
)
def test_name_is_shown_as_it_is_in_chat(name: str, shown: str) -> None:
    body, _, _ = sent(name)
    first, link = body["text"].split("\n")
    assert first == f'Acme: App "{shown}" costs more.'
    assert link.startswith("https://pulse.example.org/costs/alerts?alertId=")
    assert body["sentence"] == f'App "{name}" costs more.'  # for programs, as it is


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r", "\u2028", "\u2029", "\x85", "\v", "\f", "\0"])
def test_name_adds_no_line(ends: str) -> None:
    body, subject, text = sent(f"x{ends}https://evil.example", f"Ac{ends}me")
    assert len(body["text"].splitlines()) == 2
    assert len(body["sentence"].splitlines()) == len(subject.splitlines()) == 1
    assert body["organization"]["name"] == "Ac me"
    assert [line for line in text.splitlines() if line.startswith(("https", "me"))] == []


def test_text_direction_cannot_be_changed() -> None:
    body, subject, text = sent("\u202egnp.exe\u200b")
    assert "\u202e" not in body["text"] + subject + text
    assert "\u200b" not in body["text"] + subject + text


def test_mail_has_no_link_but_its_own() -> None:
    _, subject, text = sent("https://evil.example", "www.evil.example")
    assert text.count("://") == 1
    assert "www." not in text
    assert len(subject.splitlines()) == 1
