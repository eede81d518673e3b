"""The playground: a real request through the whole gateway, from a plain form."""

from __future__ import annotations

import pytest
from django.test import Client
from pytest_django import Settings

from costs.models import CostEvent
from gateway.call.runtime import Gateway
from gateway.models import AiRequestLog
from orgs.models import Organization, User
from tests.cast import CLIENTS
from tests.factories import PolicyFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("gateway", "prices")]

PLAYGROUND = "/admin/ai/playground"
ASKED = {
    "model": "sandbox-small",
    "prompt": "Say <b>hello</b>",
    "teamId": "blue",
    "maxTokens": "50",
}


def test_form_has_documented_labels(client_for: CLIENTS, member_user: User) -> None:
    page = client_for(member_user).get(PLAYGROUND).content.decode()
    for label in ("Model", "Prompt"):
        assert f">{label}</label>" in page
    assert ">Send</button>" in page
    assert "Playground" in page


def test_answer_is_text_with_cost_and_request_link(
    gateway: Gateway, acme: Organization, client_for: CLIENTS, member_user: User
) -> None:
    client = client_for(member_user)
    page = client.post(PLAYGROUND, ASKED).content.decode()
    row = AiRequestLog.objects.get()
    assert (row.org_id, row.status, row.team_id) == (acme.pk, "ok", "blue")
    assert row.user_id == str(member_user.pk)
    assert CostEvent.objects.get().amount_nanoeur == row.cost_nanoeur
    assert f'<data value="{row.cost_nanoeur}"' in page
    assert f'href="/admin/ai/requests/{row.pk}"' in page
    assert "<b>hello</b>" not in page
    assert "&lt;b&gt;hello&lt;/b&gt;" in page
    story = client.get(f"/admin/ai/requests/{row.pk}").content.decode()
    assert "Allowed by every policy." in story or "No policy was active." in story
    assert "hello" not in story


def test_refusal_shows_sentence(
    gateway: Gateway, acme: Organization, client_for: CLIENTS, admin_user: User
) -> None:
    PolicyFactory.create(org=acme, name="Strict", blocked_models=["sandbox-small"])
    page = client_for(admin_user).post(PLAYGROUND, ASKED).content.decode()
    assert "Model sandbox-small is blocked by policy &quot;Strict&quot;" in page
    assert "model_blocked" in page
    assert f'href="/admin/ai/requests/{AiRequestLog.objects.get().pk}"' in page


@pytest.mark.parametrize(
    "changed",
    [
        {"model": ""},
        {"prompt": ""},
        {"prompt": " \n"},
        {"maxTokens": "0"},
        {"maxTokens": "many"},
        {"teamId": "x" * 129},
        {"taskType": "a\x07b"},
        {"prompt": "x" * 100_001},
    ],
)
def test_invalid_value_sends_nothing_and_keeps_input(
    client_for: CLIENTS, member_user: User, changed: dict[str, str]
) -> None:
    response = client_for(member_user).post(PLAYGROUND, ASKED | changed)
    assert response.status_code == 200
    assert list(response.context["form"].errors) == list(changed)
    assert not AiRequestLog.objects.exists()


def test_auditor_cannot_send(client_for: CLIENTS, auditor_user: User) -> None:
    client = client_for(auditor_user)
    assert ">Send</button>" not in client.get(PLAYGROUND).content.decode()
    assert client.post(PLAYGROUND, ASKED).status_code == 403
    assert not AiRequestLog.objects.exists()


def test_post_requires_csrf_token(member_user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(member_user)
    response = client.post(PLAYGROUND, ASKED)
    assert response.status_code == 403
    assert "Form expired" in response.content.decode()
    assert not AiRequestLog.objects.exists()


def test_model_can_be_in_query_string(
    client_for: CLIENTS, member_user: User, settings: Settings
) -> None:
    page = client_for(member_user).get(f"{PLAYGROUND}?model=%22%3E%3Cb%3E").content.decode()
    assert 'value="&quot;&gt;&lt;b&gt;"' in page
