"""`manage.py aliases`."""

from __future__ import annotations

import json
from functools import partial

import pytest
from django.core.management import CommandError

from gateway.models import ModelAlias
from orgs.models import Organization
from tests.commands import output_of
from tests.factories import AliasFactory

pytestmark = pytest.mark.django_db

MODELS = ("--models", "gpt-4o-mini,claude-3-5-sonnet")


aliases = partial(output_of, "aliases")


def test_created_alias_is_enabled(acme: Organization) -> None:
    assert "Created alias" in aliases("create", "acme", "fast", *MODELS, "--retries", "2")
    alias = ModelAlias.objects.get(org=acme)
    assert (alias.name, alias.retries, alias.enabled) == ("fast", 2, True)
    assert alias.models == ["gpt-4o-mini", "claude-3-5-sonnet"]
    aliases("create", "acme", "slow", *MODELS)
    assert ModelAlias.objects.get(name="slow").retries == 0


def test_list_prints_json(acme: Organization, globex: Organization) -> None:
    alias = AliasFactory.create(org=acme, name="fast", models=["gpt-4o", "gpt-4"], retries=1)
    AliasFactory.create(org=globex)
    assert json.loads(aliases("list", "acme", "--format", "json")) == [
        {
            "name": "fast",
            "enabled": True,
            "models": ["gpt-4o", "gpt-4"],
            "retries": 1,
            "id": str(alias.pk),
        }
    ]
    assert "gpt-4o, gpt-4" in aliases("list", "acme")


def test_update_changes_only_given_options(acme: Organization) -> None:
    aliases("create", "acme", "fast", *MODELS)
    aliases("update", "acme", "FAST", "--retries", "3", "--rename", "faster", "--disable")
    alias = ModelAlias.objects.get()
    assert (alias.name, alias.retries, alias.enabled) == ("faster", 3, False)
    assert alias.models == ["gpt-4o-mini", "claude-3-5-sonnet"]
    aliases("update", "acme", "faster", "--models", "gpt-4o", "--enable")
    alias.refresh_from_db()
    assert (alias.models, alias.retries, alias.enabled) == (["gpt-4o"], 3, True)


def test_delete_removes_alias(acme: Organization) -> None:
    AliasFactory.create(org=acme, name="fast")
    aliases("delete", "acme", "fast")
    assert not ModelAlias.objects.exists()


def test_unknown_model_is_warning(acme: Organization) -> None:
    printed = aliases("create", "acme", "fast", "--models", "gpt-44")
    assert "unknown model: gpt-44" in printed
    assert ModelAlias.objects.get().models == ["gpt-44"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("list", "unknown"), 'Organization "unknown" does not exist'),
        (("update", "acme", "a"), "At least one change must be given"),
        (("update", "acme", "x", "--enable"), 'acme has no alias "x"'),
        (("delete", "acme", "x"), 'acme has no alias "x"'),
        (("create", "acme", "A", *MODELS), "already exists"),
        (("create", "acme", "b"), "--models"),
        (("create", "acme", "b", "--models", ""), "Models, in order: Enter at least one model."),
        (("create", "acme", "b", "--models", "gpt-4o,a"), '"a" is an alias'),
        (("create", "acme", "b", "--models", "what"), 'Unknown model: "what".'),
        (("create", "acme", "gpt-4", *MODELS), '"gpt-4" is a model name'),
        (("create", "acme", "b", *MODELS, "--retries", "6"), "Retries per model"),
        (("create", "acme", "b", *MODELS, "--retries", "many"), "Retries per model"),
        (("update", "acme", "a", "--rename", "a b"), "Alias name: A name must have"),
        (("update", "acme", "a", "--enable", "--disable"), "not allowed with"),
        (("polish",), "invalid choice"),
    ],
)
def test_invalid_input_is_one_line_error(
    acme: Organization, words: tuple[str, ...], sentence: str
) -> None:
    AliasFactory.create(org=acme, name="a")
    with pytest.raises(CommandError) as refusal:
        aliases(*words)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert ModelAlias.objects.count() == 1
