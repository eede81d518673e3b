"""The backtest beside a policy's form: its sentence, and what it would have done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.utils.timezone import now

from costs.explorer.names import emails
from gateway.core.errors import Refused
from gateway.policies.backtests.backtest import DAYS_DEFAULT, PERIODS_DAYS, backtest, rule_of
from gateway.policies.backtests.running import RUNNING
from gateway.policies.effect_chart import effect_bars
from gateway.policies.forms import PolicyForm
from gateway.policies.names import names_in
from gateway.policies.sentences import backtest_sentence, policy_sentence
from gateway.providers.known import known_models
from orgs.models import Organization

# How long a page waits for a backtest; days not evaluated by then are reported as missing.
EFFECT_MAX_S: Final = 3.0


def policy_effect_of(
    organization: Organization, typed: Mapping[str, Any], *, judge: bool = True
) -> dict[str, Any]:
    """Return what the typed policy says and would have done; a name it lacks is no hindrance.

    Without `judge` the past is not looked at, and `is_waiting` says so; `refusal` says that other
    backtests are running.
    """
    periods = [str(days) for days in PERIODS_DAYS]
    days = typed.get("days") if typed.get("days") in periods else str(DAYS_DEFAULT)
    form = PolicyForm(
        {**_plain(typed), "name": typed.get("name") or "this policy"},
        organization_id=organization.pk,
    )
    context: dict[str, Any] = {
        "days": days,
        "periods": periods,
        "zone": ZoneInfo(organization.timezone),
    }
    if not form.is_valid():
        return context | {"is_unreadable": True}
    limits, known = form.limits(), known_models(organization.pk)
    context |= {
        "sentence": policy_sentence(limits, names_in(organization.pk, [limits.applies_to])),
        "unknown": known.unknown([*limits.allowed_models, *limits.blocked_models]),
        "is_waiting": not judge,
    }
    if not judge:
        return context
    try:
        # A change of the form asks again while the page's last question may still run.
        with RUNNING.one_of(organization.pk, wait_s=EFFECT_MAX_S):
            report = backtest(
                organization_id=organization.pk,
                zone=context["zone"],
                rule=rule_of(limits, known.catalog),
                known=known,
                moment=now(),
                days=int(days or DAYS_DEFAULT),
                within_s=EFFECT_MAX_S,
            )
    except Refused as refusal:
        return context | {"refusal": refusal}
    people = emails(organization_id=organization.pk, user_ids=[hit.value for hit in report.users])
    return context | {
        "report": report,
        "found": backtest_sentence(report),
        "bars": effect_bars(report),
        "users": [(people.get(hit.value, hit.value), hit) for hit in report.users],
    }


def _plain(typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return each field's value, also of Django's own mapping of several each."""
    fields = PolicyForm.base_fields.items()
    return {name: field.widget.value_from_datadict(typed, {}, name) for name, field in fields}
