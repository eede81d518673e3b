"""The commands for organizations, members and keys."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.core.management.base import BaseCommand
from django.test import Client
from django.utils.timezone import now
from pytest_django import Settings

from gateway.keys.command import Command as KeysCommand
from orgs.auth import credentials
from orgs.console.commands import LOCAL_URL, installation_url
from orgs.core import keys as key_format
from orgs.keys import operations
from orgs.members.command import Command as MembersCommand
from orgs.models import ApiKey, HistoryEvent, Membership, Organization, User
from orgs.settings.command import Command as OrgsCommand
from tests.commands import output_of
from tests.factories import PASSWORD, MembershipFactory

pytestmark = pytest.mark.django_db

HERE = "http://testserver"


def last_line(*words: str) -> str:
    return output_of(*words).splitlines()[-1]


def rows(*words: str) -> Any:
    return json.loads(output_of(*words, "--format", "json"))


def refusal(*words: str) -> str:
    with pytest.raises(CommandError) as error:
        output_of(*words)
    message = str(error.value)
    assert "\n" not in message
    return message


# --- orgs -----------------------------------------------------------------------------------


def test_create_organization_prints_how_to_enable_it() -> None:
    printed = output_of("orgs", "create", "Acme Labs", "--timezone", "Europe/Paris")
    assert "orgs enable acme-labs" in printed
    assert rows("orgs", "list") == [
        {
            "slug": "acme-labs",
            "name": "Acme Labs",
            "ai_gateway_enabled": False,
            "timezone": "Europe/Paris",
            "created_at": Organization.objects.get().created_at.isoformat(timespec="seconds"),
        }
    ]


def test_enable_and_disable(acme: Organization) -> None:
    assert "is off" in output_of("orgs", "disable", "acme")
    assert "ai_gateway_enabled: False" in output_of("orgs", "show", "acme")
    assert "is on" in output_of("orgs", "enable", "acme")
    assert rows("orgs", "show", "acme")["ai_gateway_enabled"] is True


def test_storage_is_turned_off_and_on(acme: Organization) -> None:
    assert rows("orgs", "show", "acme")["stores_answers"] is True
    for state, stores in (("off", False), ("on", True)):
        assert f"is {state}, from the next request" in output_of("orgs", "store", "acme", state)
        assert rows("orgs", "show", "acme")["stores_answers"] is stores
    event = HistoryEvent.objects.order_by("id").last()
    assert event is not None
    assert (event.event, event.after) == ("organization_changed", {"stores_answers": True})


def test_lists_are_arrays_even_when_empty(acme: Organization) -> None:
    assert rows("keys", "list", "acme") == []
    assert rows("members", "list", "acme") == []
    assert output_of("keys", "list", "acme") == "none\n"


def test_list_is_aligned_table(acme: Organization, globex: Organization) -> None:
    lines = output_of("orgs", "list").splitlines()
    assert lines[0].split() == ["slug", "name", "ai_gateway_enabled", "timezone", "created_at"]
    assert [line.split()[0] for line in lines[1:]] == ["acme", "globex"]


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (("orgs", "create", ""), "name must not be empty"),
        (("orgs", "create", "Acme"), "already exists"),
        (("orgs", "create", "X", "--slug", "A B"), "slug must consist of"),
        (("orgs", "create", "X", "--timezone", "Mars"), "must be an IANA name"),
        (("orgs", "enable", "nowhere"), 'Organization "nowhere" does not exist'),
        (("orgs", "show", "nowhere"), 'Organization "nowhere" does not exist'),
        (("orgs",), "ACTION"),
        (("orgs", "destroy"), "invalid choice"),
        (("orgs", "list", "--format", "xml"), "invalid choice"),
        (("members", "list", "nowhere"), "does not exist"),
        (("members", "add", "acme", "x@y.example"), "--role"),
        (("members", "add", "acme", "x@y.example", "--role", "king"), "invalid choice"),
        (("members", "add", "acme", "unknown", "--role", "admin"), "not a valid email address"),
        (("members", "remove", "acme", "x@y.example"), "not a member of acme"),
        (("keys", "create", "acme"), "--name"),
        (("keys", "create", "nowhere", "--name", "ci"), "does not exist"),
        (
            ("keys", "create", "acme", "--name", "ci", "--user", "x@y.example"),
            "No user of this organization has",
        ),
        (("keys", "create", "acme", "--name", "ci", "--expires-days", "0"), "between 1 and"),
        (("keys", "create", "acme", "--name", "ci", "--expires-days", "x"), "invalid int"),
        (("keys", "create", "acme", "--name", "ci", "--permissions", "pay"), "must be among"),
        (("keys", "create", "acme", "--name", "ci", "--permissions", ""), "must be among"),
        (("keys", "create", "acme", "--name", "ci", "--team", ""), "team must not be empty"),
        (("keys", "revoke", "nothing"), "Key not found"),
        (("keys", "revoke", "acme", "nothing"), 'acme has no key "nothing"'),
        (("keys", "revoke", "acme", "a", "b"), "Specify one key"),
        (("keys", "rotate", "acme", "nothing"), "has no key"),
    ],
)
def test_invalid_input_is_one_line_error(
    acme: Organization, words: tuple[str, ...], printed: str
) -> None:
    assert printed in refusal(*words)


@pytest.mark.parametrize(
    ("command", "action"),
    [
        (OrgsCommand, "list"),
        (OrgsCommand, "create"),
        (OrgsCommand, "enable"),
        (OrgsCommand, "disable"),
        (OrgsCommand, "show"),
        (MembersCommand, "add"),
        (MembersCommand, "list"),
        (MembersCommand, "role"),
        (MembersCommand, "link"),
        (MembersCommand, "remove"),
        (KeysCommand, "create"),
        (KeysCommand, "list"),
        (KeysCommand, "rotate"),
        (KeysCommand, "revoke"),
    ],
)
def test_every_action_has_help(
    capsys: pytest.CaptureFixture[str], command: type[BaseCommand], action: str
) -> None:
    name = command.__module__.rsplit(".", 1)[1]
    with pytest.raises(SystemExit) as end:
        command().run_from_argv(["manage.py", name, action, "--help"])
    assert end.value.code == 0
    assert f"manage.py {name} {action}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["orgs"], ["orgs", "destroy"], ["orgs", "show"], ["orgs", "-x"]])
def test_usage_error_is_one_line_with_exit_code_2(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        OrgsCommand().run_from_argv(["manage.py", *words])
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("manage.py orgs")
    assert printed.err.count("\n") == 1


def test_unmigrated_database_is_reported(empty_database_url: str) -> None:
    ended = subprocess.run(
        [sys.executable, "manage.py", "orgs", "list", "--format", "json"],
        env=os.environ | {"DATABASE_URL": empty_database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "The database is not ready" in ended.stderr
    assert ended.stderr.count("\n") == 1


# --- members --------------------------------------------------------------------------------


def test_link_of_new_member_is_on_last_line(acme: Organization, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["localhost", "testserver"]
    row = {
        "email": "new@acme.example",
        "name": "",
        "role": "admin",
        "is_active": False,
        "has_password": False,
        "accepted": False,
        "address_confirmed": False,
    }
    link = last_line("members", "add", "acme", "New@acme.example", "--role", "admin")
    assert rows("members", "list", "acme") == [row]
    assert link.startswith(f"{HERE}/welcome/")
    set_password(link.removeprefix(HERE))
    joined = row | {"is_active": True, "has_password": True, "accepted": True}
    assert rows("members", "list", "acme") == [joined]


def set_password(path: str) -> None:
    password = {"new_password1": PASSWORD, "new_password2": PASSWORD}
    assert Client().post(path, password).status_code == 302


def test_password_is_read_from_standard_input(
    acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    who = ("new@acme.example", "--role", "member", "--password-stdin")
    assert "welcome" not in output_of("members", "add", "acme", *who)
    assert User.objects.get(email="new@acme.example").check_password(PASSWORD)
    [row] = rows("members", "list", "acme")
    assert (row["accepted"], row["address_confirmed"]) == (True, True)


@pytest.mark.parametrize("text", ["", "\n", "short\n"])
def test_weak_password_creates_no_account(
    acme: Organization, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    refusal("members", "add", "acme", "n@acme.example", "--role", "member", "--password-stdin")
    assert not User.objects.exists()


def test_actions_on_members(acme: Organization, admin_user: User, member_user: User) -> None:
    output_of("members", "role", "acme", member_user.email.upper(), "--role", "auditor")
    assert Membership.objects.get(user=member_user).role == "auditor"
    output_of("keys", "create", "acme", "--name", "ci", "--user", member_user.email)
    assert "to set another password" in output_of("members", "link", "acme", member_user.email)
    assert "Keys revoked: 1" in output_of("members", "remove", "acme", member_user.email)
    assert "last admin" in refusal("members", "remove", "acme", admin_user.email)


def test_actions_on_invitations(acme: Organization, admin_user: User) -> None:
    new = ("acme", "NEW@acme.example")
    first = path(output_of("members", "add", *new, "--role", "member"))
    assert "already been invited" in refusal("members", "add", *new, "--role", "admin")
    second = path(output_of("members", "link", *new))
    third = path(output_of("members", "role", *new, "--role", "auditor"))
    assert [Client().get(link).status_code for link in (first, second, third)] == [410, 410, 200]
    reported = refusal("keys", "create", "acme", "--name", "ci", "--user", new[1])
    assert "No user of this organization has" in reported
    assert "Removed the invitation" in output_of("members", "remove", *new)
    assert Client().get(third).status_code == 410
    set_password(path(output_of("members", "add", *new, "--role", "member")))
    assert Membership.objects.get(user__email="new@acme.example").role == "member"


def test_member_without_password_gets_link(acme: Organization) -> None:
    MembershipFactory.create(org=acme, user__email="new@acme.example", user__password="!")
    set_password(path(output_of("members", "link", "acme", "new@acme.example")))
    assert rows("members", "list", "acme")[0]["has_password"] is True


def path(printed: str) -> str:
    return printed.splitlines()[-1].removeprefix(LOCAL_URL)


def test_changed_password_confirms_address(
    member_user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getpass", lambda prompt: "another long password")
    assert "Password changed" in output_of("changepassword", member_user.email)
    member_user.refresh_from_db()
    assert member_user.check_password("another long password")
    assert member_user.email_confirmed_at is not None


def test_links_use_public_host(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["localhost", ".pulse.example", "other.example"]
    settings.SESSION_COOKIE_SECURE = True
    assert installation_url() == "https://pulse.example"
    settings.ALLOWED_HOSTS = ["*"]
    assert installation_url() == LOCAL_URL
    settings.PULSE_URL = "https://ai.example.org:8443"
    assert installation_url() == "https://ai.example.org:8443"


def test_links_lead_to_port_that_was_served(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings.SERVED_URL_FILE = tmp_path / "served_url"
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
    served: list[str] = []

    def serve(bound: socket.socket, *, workers: int) -> None:
        served.append(installation_url())
        bound.close()

    monkeypatch.setattr("pulse.management.commands.serve.serve", serve)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert installation_url() == LOCAL_URL
    output_of("serve", "--port", str(port))
    assert served == [f"http://127.0.0.1:{port}"]
    assert installation_url() == f"http://127.0.0.1:{port}"


# --- keys -----------------------------------------------------------------------------------


def test_new_key_is_alone_on_last_line(acme: Organization, member_user: User) -> None:
    words = ["--name", "ci", "--user", member_user.email, "--team", "t", "--project", "p"]
    text = last_line("keys", "create", "acme", *words, "--app", "a", "--client", "c")
    parsed = key_format.parse(text)
    assert parsed is not None
    record = credentials.key_record(parsed.public)
    assert record is not None
    assert record.owner_id == member_user.pk
    fixed = (record.team_id, record.project_id, record.app_id, record.client_id)
    assert fixed == ("t", "p", "a", "c")
    assert record.expires_at is None


def test_key_can_expire(acme: Organization) -> None:
    output_of("keys", "create", "acme", "--name", "ci", "--expires-days", "2")
    expires_at = ApiKey.objects.get().expires_at
    assert expires_at is not None
    assert timedelta(days=1, hours=23) < expires_at - now() <= timedelta(days=2)


def test_client_source_of_key_is_set_and_removed(acme: Organization) -> None:
    def source() -> Any:
        (row,) = rows("keys", "list", "acme")
        return row["client_from"]

    output_of("keys", "create", "acme", "--name", "ci", "--client-from", "header:x-user-id")
    assert source() == "header:x-user-id"
    output_of("keys", "update", "acme", "ci", "--client-from", "user")
    assert source() == "user"
    with pytest.raises(CommandError, match="The client source must be user, "):
        output_of("keys", "update", "acme", "ci", "--client-from", "header:cookie")
    output_of("keys", "update", "acme", "ci", "--client-from", "none")
    assert source() is None


def test_keys_are_listed_without_their_secret(acme: Organization) -> None:
    text = last_line("keys", "create", "acme", "--name", "ci", "--team", "t")
    (row,) = rows("keys", "list", "acme")
    key = ApiKey.objects.get()
    assert row == {
        "name": "ci",
        "public": key.public,
        "last_four": text[-4:],
        "status": "active",
        "owner": None,
        "locked_to": {"team": "t"},
        "callers_choose": ["user", "project", "app", "client", "task type"],
        "client_from": None,
        "permissions": "send,read,quote",
        "expires_at": None,
        "last_used_at": None,
        "id": str(key.pk),
    }
    assert "team t" in output_of("keys", "list", "acme")
    output_of("keys", "create", "acme", "--name", "quotes", "--permissions", "quote,read")
    assert rows("keys", "list", "acme")[0]["permissions"] == "read,quote"


def test_key_can_be_selected_in_several_ways(acme: Organization) -> None:
    for form in ("public", "prefixed", "id", "whole", "by name"):
        key, text = operations.create_key(org=acme, name="A key")
        words = {
            "public": [key.public],
            "prefixed": [f"pulse_{key.public}"],
            "id": [str(key.pk)],
            "whole": [text],
            "by name": ["acme", "a KEY"],
        }[form]
        assert "is revoked" in output_of("keys", "revoke", *words), form
        key.refresh_from_db()
        assert key.revoked_at is not None, form


def test_revoking_twice_succeeds(acme: Organization) -> None:
    key, _ = operations.create_key(org=acme, name="ci")
    output_of("keys", "revoke", key.public)
    assert "was already revoked" in output_of("keys", "revoke", key.public)


def test_rotation_by_name_selects_newest(acme: Organization) -> None:
    operations.create_key(org=acme, name="ci")
    first = last_line("keys", "rotate", "acme", "ci")
    second = last_line("keys", "rotate", "acme", "ci", "--overlap-hours", "0")
    publics = [row["public"] for row in rows("keys", "list", "acme")]
    assert publics[:2] == [second.split("_")[1], first.split("_")[1]]
    assert [row["status"] for row in rows("keys", "list", "acme")] == [
        "active",
        "expired",
        "being replaced",
    ]


def test_revoking_by_shared_name_is_ambiguous(acme: Organization) -> None:
    old, _ = operations.create_key(org=acme, name="ci")
    new, _ = operations.rotate_key(key=old)
    printed = refusal("keys", "revoke", "acme", "ci")
    assert old.public in printed
    assert new.public in printed


@pytest.mark.parametrize("hours", ["-1", "721", "nan", "inf", "1e300"])
def test_invalid_overlap_is_rejected(acme: Organization, hours: str) -> None:
    key, _ = operations.create_key(org=acme, name="ci")
    refusal("keys", "rotate", key.public, f"--overlap-hours={hours}")
    assert ApiKey.objects.count() == 1
