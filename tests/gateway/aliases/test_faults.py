"""Rules of an alias's name and models, and the order of attempts."""

from __future__ import annotations

import pytest

from gateway.aliases.faults import Fault, fault_in
from gateway.core.attempts import BACKOFF_FIRST_S, WAIT_MAX_S, Alias, NextAttempt, Trail
from gateway.core.errors import (
    Broken,
    ClientGone,
    NeverSent,
    NotConfigured,
    ProviderFailed,
    RateLimited,
    Rejected,
    TimedOut,
    Unreachable,
)
from gateway.core.providers import ProviderConfig
from gateway.providers.catalog import load_catalog
from gateway.providers.known import KnownModels

CATALOG = load_catalog(sandbox=True)
ROWS = {
    name: ProviderConfig(
        name=name, title=name, is_row=True, weight=1, models={"own-model": "own-model"}
    )
    for name in ("azure-eu", "local")
}


def fault(
    name: str = "fast",
    models: tuple[str, ...] = ("gpt-4o-mini", "claude-3-5-sonnet"),
    *,
    retries: int = 0,
    others: tuple[str, ...] = ("smart",),
) -> Fault | None:
    known = KnownModels(CATALOG, ROWS)
    return fault_in(
        name=name, models=models, retries=retries, find=known.find, other_aliases=others
    )


@pytest.mark.parametrize("name", ["fast", "Acme.Chat_2-b", "4ever", "x" * 100])
def test_alias_name_unknown_to_vendors_is_valid(name: str) -> None:
    assert fault(name) is None


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "openai/fast", "é", "x" * 101, "a\n"])
def test_invalid_alias_name_is_refused(name: str) -> None:
    found = fault(name)
    assert found is not None
    assert (found.field, found.sentence[:16]) == ("name", "A name must have")


@pytest.mark.parametrize("name", ["gpt-4o", "GPT-4", "gpt-4-0613", "claude-new", "gpt-fast"])
def test_model_name_is_refused_as_alias_name(name: str) -> None:
    sentence = f'"{name}" is a model name; an alias can only use it if that model is its first.'
    assert fault(name) == Fault("name", sentence)


@pytest.mark.parametrize("name", ["gpt-4o-mini", "GPT-4o-Mini"])
def test_alias_can_have_name_of_its_first_model(name: str) -> None:
    assert fault(name) is None
    assert fault(name, ("openai/gpt-4o-mini", "gpt-4o")) is None
    assert fault(name, ("gpt-4o", "gpt-4o-mini")) is not None
    assert fault(name, ("gpt-4o-mini-2024-07-18",)) is not None


def test_alias_cannot_contain_alias() -> None:
    sentence = '"Smart" is an alias; an alias can only contain models.'
    assert fault(models=("gpt-4o", "Smart")) == Fault("models", sentence)
    assert (
        fault(models=("gpt-4o",), others=("gpt-4o",)) is None
    )  # resolves to the model of that name


@pytest.mark.parametrize("name", ["no-such", "fast", "*", "openai/*", "mistral/gpt-4o"])
def test_alias_with_unknown_model_is_refused(name: str) -> None:
    assert fault(models=("gpt-4o", name)) == Fault("models", f'Unknown model: "{name}".')


def test_alias_has_up_to_ten_distinct_models() -> None:
    twice = Fault("models", '"gpt-4o" and "OpenAI/GPT-4o" are the same model.')
    assert fault(models=("gpt-4o", "OpenAI/GPT-4o")) == twice
    ten = tuple(f"gpt-{n}" for n in range(10))
    assert fault(models=ten) is None
    assert fault(models=(*ten, "gpt-10")) == Fault(
        "models", "An alias can have at most 10 models, not 11."
    )
    assert fault(models=()) == Fault("models", "Enter at least one model.")


def test_alias_can_list_model_at_several_providers() -> None:
    assert fault(models=("azure-eu/gpt-4o", "gpt-4o", "local/gpt-4o", "own-model")) is None
    assert fault(models=("azure-eu/gpt-4o", "Azure-EU/GPT-4o")) is not None
    assert fault(models=("local/own-model", "azure-eu/own-model")) is None
    assert fault(models=("removed/gpt-4o",)) == Fault("models", 'Unknown model: "removed/gpt-4o".')


def test_alias_can_have_name_of_its_first_model_at_any_provider() -> None:
    assert fault("gpt-4o", ("azure-eu/gpt-4o", "gpt-4o")) is None
    assert fault("gpt-4o", ("local/openai/gpt-4o", "gpt-4o")) is None
    assert fault("own-model", ("local/own-model", "azure-eu/own-model")) is None
    for name, first in (("gpt-4o", "azure-eu/gpt-4"), ("own-model", "azure-eu/gpt-4o")):
        found = fault(name, (first, name))
        assert found is not None
        assert found.field == "name"


def test_retries_must_be_within_limit() -> None:
    assert fault(retries=5) is None
    for retries in (-1, 6):
        assert fault(retries=retries) == Fault("retries", "Retries must be between 0 and 5.")


# --- the next step ------------------------------------------------------------------------------

TWO = Alias(name="fast", models=("a", "b"))


def steps(alias: Alias, *failures: ProviderFailed) -> list[NextAttempt | None]:
    """Return the step after each failure."""
    trail, taken = Trail(alias=alias), []
    for failure in failures:
        step = trail.next_step(failure)
        taken.append(step)
        if step is None:
            break
        trail.take(step, failure, {})
    return taken


@pytest.mark.parametrize(
    "failure",
    [
        RateLimited("no", provider_status=429),
        Unreachable("no"),
        NotConfigured("no"),
        *(Rejected("no", provider_status=n) for n in (401, 402, 403, 404, 500, 503, 529)),
        Rejected("this provider cannot be asked this"),
    ],
)
def test_unbilled_failure_tries_next_model(failure: ProviderFailed) -> None:
    assert steps(TWO, failure, failure) == [NextAttempt(1), None]
    assert Trail().next_step(failure) is None


@pytest.mark.parametrize(
    "failure",
    [
        TimedOut("?"),
        Broken("?", provider_status=500),
        ClientGone("gone"),
        NeverSent("gone"),
        *(Rejected("yours", provider_status=n) for n in (400, 413, 422)),
    ],
)
def test_possibly_billed_or_invalid_request_is_not_retried(failure: ProviderFailed) -> None:
    retried = Alias(name="fast", models=("a", "b"), retries=5)
    assert steps(retried, failure) == [None]


def test_transient_failure_is_retried_with_backoff() -> None:
    alias = Alias(name="fast", models=("a", "b"), retries=2)
    busy = Rejected("busy", provider_status=503)
    assert steps(alias, *[busy] * 6) == [
        NextAttempt(0, BACKOFF_FIRST_S),
        NextAttempt(0, BACKOFF_FIRST_S * 2),
        NextAttempt(1),
        NextAttempt(1, BACKOFF_FIRST_S),
        NextAttempt(1, BACKOFF_FIRST_S * 2),
        None,
    ]


def test_permanent_failure_is_not_retried() -> None:
    alias = Alias(name="fast", models=("a", "b"), retries=5)
    for failure in (Rejected("no", provider_status=401), NotConfigured("no")):
        assert steps(alias, failure, failure) == [NextAttempt(1), None]


def test_retry_after_is_used_within_total_wait() -> None:
    alias = Alias(name="fast", models=("a", "b"), retries=5)
    half = RateLimited("busy", provider_status=429, retry_after_s=round(WAIT_MAX_S / 2))
    assert steps(alias, half, half, half) == [
        NextAttempt(0, 10.0),
        NextAttempt(0, 10.0),
        NextAttempt(1),
    ]
    long = RateLimited("busy", provider_status=429, retry_after_s=round(WAIT_MAX_S) + 1)
    assert steps(alias, long, long) == [NextAttempt(1), None]
    just = RateLimited("busy", provider_status=429, retry_after_s=round(WAIT_MAX_S))
    assert steps(alias, just, just) == [NextAttempt(0, WAIT_MAX_S), NextAttempt(1)]
