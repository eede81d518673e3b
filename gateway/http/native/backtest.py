"""`GET /api/ai/policies/backtest`: replay past requests under a policy; writes nothing."""

from __future__ import annotations

import re
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.utils.timezone import now

from gateway.call.reads import READ_TIMEOUT_S
from gateway.call.runtime import current
from gateway.console.dimensions import KNOWN_FIELDS, KNOWN_PARAMETERS, WORDS
from gateway.core.calls import CHANNELS, DIMENSION_MAX_CHARS, Principal
from gateway.core.errors import Refused
from gateway.core.model_names import NAME_MAX_CHARS
from gateway.core.request_body import invalid
from gateway.http.native.reads import Query, answer
from gateway.http.outside import only
from gateway.policies.applies_to import NAMED_FIELDS, NAMED_PARAMETERS
from gateway.policies.backtests.backtest import DAYS_DEFAULT, PERIODS_DAYS, backtest, rule_of
from gateway.policies.backtests.backtest_json import backtest_as_json
from gateway.policies.backtests.running import RUNNING
from gateway.policies.forms import PolicyForm
from gateway.policies.names import names_in
from gateway.policies.sentences import policy_sentence
from gateway.providers.known import known_models
from orgs.models import Organization
from orgs.threads import BACKTESTS

# The time limit of a replay here; the command has none.
BACKTEST_MAX_S: Final = 10.0
# Query parameters and their fields in the policy form.
FIELDS: Final = {
    "allow": "allowed_models",
    "block": "blocked_models",
    "maxCostPerDayEur": "max_cost_per_day_eur",
    "maxCostPerSessionEur": "max_cost_per_session_eur",
    "maxTokensPerRequest": "max_tokens_per_request",
    "maxOutputTokens": "max_output_tokens",
    "waitS": "wait_s",
    "webSearchesPerRequest": "web_searches_per_request",
    "requestsPerMinute": "requests_per_minute",
    "tokensPerMinute": "tokens_per_minute",
    "concurrentRequests": "concurrent_requests",
    **{parameter: NAMED_FIELDS[name] for name, parameter in NAMED_PARAMETERS.items()},
    "require": "required_dimensions",
    **{parameter: KNOWN_FIELDS[name] for name, parameter in KNOWN_PARAMETERS.items()},
}
# Those whose values must be the organization's.
LOOKED_UP: Final = ("keys", "users", "providers")
NAME: Final = "this policy"
ENTRIES_MAX: Final = 20
_ENTRY: Final = rf"[A-Za-z0-9*][A-Za-z0-9._:@/+*-]{{0,{NAME_MAX_CHARS - 1}}}"
_ENTRIES: Final = f"^{_ENTRY}(?:,{_ENTRY}){{0,{ENTRIES_MAX - 1}}}$"
_CHANNELS: Final = "|".join(map(re.escape, CHANNELS))
_WORDS: Final = "|".join(WORDS.values())
_VALUE: Final = rf"[!-+\--~]{{1,{DIMENSION_MAX_CHARS}}}"
_VALUES: Final = f"^{_VALUE}(?:,{_VALUE}){{0,{ENTRIES_MAX - 1}}}$"


# The format of each parameter of a policy, also in the API description.
PATTERNS: Final = {
    "allow": _ENTRIES,
    "block": _ENTRIES,
    **dict.fromkeys(("maxCostPerDayEur", "maxCostPerSessionEur"), r"^[0-9]{1,7}(?:\.[0-9]{1,9})?$"),
    "maxTokensPerRequest": r"^[1-9][0-9]{0,18}$",
    "maxOutputTokens": r"^[1-9][0-9]{0,18}$",
    "waitS": r"^(?:0|[1-9][0-9]{0,2}|[12][0-9]{3}|3[0-5][0-9]{2}|3600)$",
    "webSearchesPerRequest": r"^(?:0|[1-9][0-9]{0,3})$",
    "requestsPerMinute": r"^[1-9][0-9]{0,9}$",
    "tokensPerMinute": r"^[1-9][0-9]{0,18}$",
    "concurrentRequests": r"^[1-9][0-9]{0,9}$",
    **dict.fromkeys(NAMED_PARAMETERS.values(), _VALUES),
    "channels": f"^(?:{_CHANNELS})(?:,(?:{_CHANNELS}))*$",
    "require": rf"^(?:{_WORDS})(?:,(?:{_WORDS})){{0,{len(WORDS) - 1}}}$",
    **dict.fromkeys(KNOWN_PARAMETERS.values(), _VALUES),
}


@only("GET", "HEAD")
async def policy_backtest(request: HttpRequest) -> HttpResponse:
    """Replay the organization's requests under the policy in the query parameters."""
    return await answer(
        request,
        _replayed,
        parameters=(*FIELDS, "days"),
        threads=BACKTESTS,
        within_s=BACKTEST_MAX_S + READ_TIMEOUT_S,
    )


def _replayed(principal: Principal, query: Query) -> dict[str, Any]:
    if set(principal.fixed.as_dict()) - {"user_id"}:
        # The key sees only some requests, and a policy applies to all of them.
        sentence = "A key with fixed dimensions cannot backtest the whole organization's requests"
        raise Refused("dimension_fixed_by_key", sentence)
    days, form = _parsed(query, principal)
    organization = Organization.objects.get(id=principal.org_id)
    known = known_models(organization.pk, catalog=current().catalog)
    with RUNNING.one_of(organization.pk):
        report = backtest(
            organization_id=organization.pk,
            zone=ZoneInfo(organization.timezone),
            rule=rule_of(form.limits(), known.catalog),
            known=known,
            moment=now(),
            days=days,
            within_s=BACKTEST_MAX_S,
        )
    sentence = policy_sentence(form.limits(), names_in(organization.pk, [form.applies_to()]))
    return {"success": True, "policy": sentence, **backtest_as_json(report)}


def _parsed(query: Query, principal: Principal) -> tuple[int, PolicyForm]:
    days = query.get("days", str(DAYS_DEFAULT))
    if days not in map(str, PERIODS_DAYS):
        raise invalid(f"days must be one of {', '.join(map(str, PERIODS_DAYS))}")
    for name, pattern in PATTERNS.items():
        given = query.get(name)
        if given is not None and not re.fullmatch(pattern, given, re.ASCII):
            raise invalid(f"{name} must match the pattern in GET /api/schema")
    typed = {field: query.get(name, "") for name, field in FIELDS.items()}
    for field in (*KNOWN_FIELDS.values(), *NAMED_FIELDS.values()):
        typed[field] = typed[field].replace(",", "\n")
    form = PolicyForm(typed | {"name": NAME}, organization_id=principal.org_id)
    for name, field in FIELDS.items():
        if faults := form.errors.get(field):
            sentence = f"{name}: {faults[0]}"
            if name in LOOKED_UP:
                raise Refused("not_found", sentence, status=404)
            raise invalid(sentence)
    return int(days), form
