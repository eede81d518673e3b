"""Invented weeks of an organization, for viewing pages and for screenshots."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.utils.timezone import now

from costs.core.calendar.periods import BudgetWindow, day_around
from costs.core.daily import line_id
from costs.core.pricing import cost_nanoeur
from costs.core.rates import Rates
from costs.core.usage import Usage
from costs.ledger.stores.tables import LINE_NAMES, SESSION_NAMES, SUMS
from costs.models import (
    CostEvent,
    DailyCost,
    Hold,
    HoldPeriod,
    MonthlyCost,
    Period,
    RateCard,
    SessionCost,
)
from costs.prices.book import PriceBook, load_price_book
from gateway.alerts.evaluate import EvaluationCache, evaluate
from gateway.budgets.operations import BudgetTerms, create_budget
from gateway.budgets.parts.raises import RaiseTerms, set_raise
from gateway.budgets.status import statuses
from gateway.core.model_names import price_names
from gateway.models import AiRequestLog, Alert, AlertChannel, AlertDelivery, Budget, Policy
from orgs.fields import new_id
from orgs.models import ApiKey, Organization

# More than two months, so that the last 30 days and the last month have days before them.
DAYS: Final = 75
EURO: Final = 10**9
MODELS: Final = (
    # provider, asked for, answered by, usual tokens in and out, how often
    ("openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", 900, 220, 44),
    ("openai", "gpt-4o", "gpt-4o-2024-08-06", 2_400, 480, 16),
    ("anthropic", "claude-3-5-sonnet-20241022", "claude-3-5-sonnet-20241022", 3_100, 650, 14),
    ("google", "gemini-2.0-flash", "gemini-2.0-flash", 5_200, 300, 14),
    ("mistral", "mistral-large-latest", "mistral-large-latest", 1_300, 400, 8),
    ("openai", "gpt-4", "gpt-4", 1_100, 350, 4),
)
PLACES: Final = (
    # team, project, app, task
    ("support", "helpdesk", "ticket-triage", "classification"),
    ("support", "helpdesk", "reply-drafts", "writing"),
    ("growth", "catalogue", "product-texts", "writing"),
    ("platform", "assistant", "code-review", "code-review"),
    ("platform", "assistant", "search", "retrieval"),
)
# Sessions and subagents of code review, one session a day.
SESSIONS: Final = (
    "5b0e8f34-0e1c-4f7a-9d51-2f7f3f9b8a10",
    "レビュー/セッション?№=7&" + "コードの長い名前を持つ作業" * 3,
)
AGENTS: Final = (
    None,
    None,
    "a8c1f2e",
    "Исследователь зависимостей и тестов большого репозитория (60)",
)
LONG_USER: Final = "Воронцова-Преображенская Анастасия Константиновна, отдел исследований (80)"
HOURS: Final = (1, 1, 1, 1, 1, 2, 4, 8, 14, 18, 19, 17, 12, 15, 18, 18, 16, 12, 7, 5, 4, 3, 2, 1)
CAP_TOKENS: Final = 4096
NO_SUMS: Final = dict.fromkeys(SUMS, 0)
# name, share of the limit that is spent, what it is of
BUDGETS: Final[tuple[tuple[str, float, dict[str, Any]], ...]] = (
    ("Support team", 0.6, {"team_id": "support"}),
    ("Code review", 0.97, {"app_id": "code-review", "task_type": "code-review"}),
    ("Sonnet and GPT-4o", 1.15, {"models": ["claude-3-5-sonnet", "gpt-4o"], "is_hard": False}),
    ("Everything", 0.2, {"span": BudgetWindow.QUARTER}),
    ("Drafts this week", 1.0, {"app_id": "reply-drafts", "span": BudgetWindow.WEEK}),
    ("Nothing yet", 0, {"team_id": "research", "span": BudgetWindow.DAY}),
    ("Each person", 2.0, {"each": "user_id", "span": BudgetWindow.QUARTER}),
    ("Trial", 0.4, {"models": ["gemini-*"], "span": BudgetWindow.WEEK}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a made-up request ended."""

    status: str
    code: str | None = None
    error: str | None = None


OK: Final = Ending(status="ok")
FAILED: Final = Ending(
    status="error", code="provider_error", error="The provider answered 529: overloaded"
)
LOST: Final = Ending(
    status="unknown", code="provider_timeout", error="The provider did not answer within 120 s"
)


CUT: Final = Ending(
    status="unknown",
    code="client_disconnected",
    error="The client disconnected before the answer was complete",
)


def fill(
    org: Organization, *, keys: list[ApiKey], users: list[str], per_day: int = 160, seed: int = 7
) -> None:
    """Give the organization policies and DAYS days of requests, with their charges."""
    Policy.objects.create(
        org=org,
        name="Production",
        blocked_models=["gpt-4"],
        max_cost_per_day_nanoeur=5 * EURO,
        max_tokens_per_request=16_000,
    )
    Policy.objects.create(
        org=org,
        name="Trial of cheap models",
        mode="off",
        allowed_models=["gpt-4o-mini", "gemini-2.0-flash"],
    )
    Policy.objects.create(
        org=org,
        name="Support, on trial",
        mode="watch",
        applies_to={"key_id": [str(keys[0].pk)], "team_id": ["support", "サポート"]},
        max_cost_per_day_nanoeur=EURO,
        requests_per_minute=60,
        tokens_per_minute=200_000,
        concurrent_requests=4,
    )
    chance = random.Random(seed)  # noqa: S311  not for secrets
    policies = [
        {
            "id": str(policy.id),
            "name": policy.name,
            "limit_nanoeur": policy.max_cost_per_day_nanoeur,
            "max_tokens": policy.max_tokens_per_request,
        }
        for policy in Policy.objects.filter(org=org, mode="on")
    ]
    made = _Made(org, load_price_book(), policies)
    for occurred_at in _moments(org, chance, per_day):
        made.add(occurred_at, chance, keys, users)
    made.save()
    for key in keys:
        key.last_used_at = max(row.occurred_at for row in made.rows if row.key_id == key.pk)
        key.save()


def _moments(org: Organization, chance: random.Random, per_day: int) -> Iterator[datetime]:
    moment = now()
    zone = ZoneInfo(org.timezone)
    for back in range(DAYS, -1, -1):
        starts_at, _ = day_around(moment - timedelta(days=back), zone)
        weekend = starts_at.astimezone(zone).weekday() >= 5
        count = round(per_day * (0.3 if weekend else 1) * chance.uniform(0.8, 1.2))
        hours = chance.choices(range(24), HOURS, k=count)
        moments = (starts_at + timedelta(hours=h, seconds=chance.uniform(0, 3600)) for h in hours)
        yield from sorted(at for at in moments if at < moment)


class _Made:
    """Rows on their way into the database."""

    def __init__(
        self, org: Organization, prices: PriceBook, policies: list[dict[str, Any]]
    ) -> None:
        self.org, self.prices, self.policies = org, prices, policies
        self.rows: list[AiRequestLog] = []
        self.holds: list[Hold] = []
        self.events: list[CostEvent] = []
        self.periods: dict[datetime, Period] = {}
        self.in_periods: list[HoldPeriod] = []
        self.cards: dict[UUID, RateCard] = {}

    def add(
        self, occurred_at: datetime, chance: random.Random, keys: list[ApiKey], users: list[str]
    ) -> None:
        """Make one request with what belongs to it."""
        provider, asked, answered, usual_in, usual_out, _ = chance.choices(
            MODELS, [model[-1] for model in MODELS]
        )[0]
        rates = self.prices.rates_for(price_names(asked), provider, occurred_at)
        if rates is None:
            return
        tokens_in = max(20, round(chance.lognormvariate(0, 0.6) * usual_in))
        tokens_out = min(CAP_TOKENS, max(2, round(chance.lognormvariate(0, 0.5) * usual_out)))
        usage = Usage(input_uncached=tokens_in, output_text=tokens_out)
        bound = cost_nanoeur(Usage(input_uncached=tokens_in * 4, output_text=CAP_TOKENS), rates)
        ending = self._ending(asked, chance)
        row = self._row(occurred_at, chance, keys, users, ending)
        row.requested_model, row.provider = asked, provider
        row.model = answered if ending is OK else asked
        if ending.status in ("ok", "unknown"):
            row.cost_nanoeur = bound if ending is LOST else cost_nanoeur(usage, rates)
            row.estimated_nanoeur = 0 if ending is OK else row.cost_nanoeur
        if ending is OK:
            row.input_tokens, row.output_tokens = tokens_in, tokens_out
            row.usage = {"buckets": usage.as_dict(), "adds_up": True, "reported": None}
        row.hold_nanoeur = None if ending.status == "blocked" else bound
        row.decision = self._trace(row, ending, tokens_in, bound, rates)
        self.rows.append(row)
        if row.hold_nanoeur is not None:
            self._charge(row, bound, rates, usage if ending is OK else None)

    def _ending(self, asked: str, chance: random.Random) -> Ending:
        if asked == "gpt-4":
            sentence = 'Model gpt-4 is blocked by policy "Production"'
            return Ending(status="blocked", code="model_blocked", error=sentence)
        return chance.choices((OK, FAILED, LOST, CUT), (972, 20, 4, 4))[0]

    def _row(
        self,
        occurred_at: datetime,
        chance: random.Random,
        keys: list[ApiKey],
        users: list[str],
        ending: Ending,
    ) -> AiRequestLog:
        team, project, app, task = chance.choice(PLACES)
        latency_ms = 3 if ending.status == "blocked" else round(chance.lognormvariate(6.6, 0.5))
        repeated = chance.random() < 0.1
        prompt = str(chance.randrange(40) if repeated else chance.random())
        return AiRequestLog(
            org=self.org,
            occurred_at=occurred_at,
            completed_at=occurred_at + timedelta(milliseconds=latency_ms),
            channel="api",
            stream=chance.random() < 0.3,
            status=ending.status,
            code=ending.code,
            error=ending.error,
            finish_reason="stop" if ending is OK else None,
            prompt_hash=hashlib.sha256(prompt.encode()).hexdigest(),
            cost_nanoeur=0,
            latency_ms=latency_ms,
            user_id=chance.choice(users),
            team_id=team,
            project_id=project,
            app_id=app,
            task_type=task,
            key_id=chance.choice(keys).pk,
            **self._session(occurred_at, task),
        )

    def _session(self, occurred_at: datetime, task: str) -> dict[str, str | None]:
        if task != "code-review":
            return {}
        agent_id = AGENTS[occurred_at.second % len(AGENTS)]
        return {"session_id": SESSIONS[occurred_at.day % 2], "agent_id": agent_id}

    def _trace(
        self, row: AiRequestLog, ending: Ending, tokens_in: int, bound: int, rates: Rates
    ) -> dict[str, Any]:
        period = self._period(row.occurred_at)
        charged = period.settled_nanoeur
        limit = self.policies[0]["limit_nanoeur"]
        before = {
            "limit_nanoeur": limit,
            "charged_nanoeur": charged,
            "held_nanoeur": 0,
            "left_nanoeur": max(0, limit - charged),
        }
        after = before | {"held_nanoeur": bound, "left_nanoeur": max(0, limit - charged - bound)}
        refused = ending.status == "blocked"
        verdict = ending.code if refused else "ok"
        return {
            "model": {
                "requested": row.requested_model,
                "meant": row.requested_model,
                "provider": row.provider,
            },
            "input": {"bytes": tokens_in * 4, "counted_tokens": None if refused else tokens_in},
            "output_cap": None if refused else CAP_TOKENS,
            "bound_nanoeur": None if refused else bound,
            "bound_by": "bytes",
            "policies": [{**policy, "verdict": verdict} for policy in self.policies],
            "config_version": 1,
            "rates": None if refused else rates.as_dict(),
            "before": None if refused else before,
            "after": None if refused else after,
        }

    def _period(self, occurred_at: datetime) -> Period:
        starts_at, ends_at = day_around(occurred_at, ZoneInfo(self.org.timezone))
        if starts_at not in self.periods:
            self.periods[starts_at] = Period(
                org=self.org,
                scope="org",
                starts_on=starts_at.astimezone(ZoneInfo(self.org.timezone)).date(),
                starts_at=starts_at,
                ends_at=ends_at,
                limit_nanoeur=self.policies[0]["limit_nanoeur"],
            )
        return self.periods[starts_at]

    def _card(self, rates: Rates) -> RateCard:
        card = rates.card
        if card.id not in self.cards:
            defaults = {"rates": rates.as_dict()}
            self.cards[card.id] = RateCard.objects.get_or_create(id=card.id, defaults=defaults)[0]
        return self.cards[card.id]

    def _charge(self, row: AiRequestLog, bound: int, rates: Rates, usage: Usage | None) -> None:
        states = {"ok": "settled", "error": "released", "unknown": "unknown"}
        hold = Hold(
            org=self.org,
            request_id=row.pk,
            state=states[row.status],
            amount_nanoeur=bound,
            charged_nanoeur=row.cost_nanoeur or 0,
            held_at=row.occurred_at,
            deadline_at=row.occurred_at + timedelta(minutes=3),
            resolved_at=row.completed_at,
            instance_id=new_id(),
            charge_to={},
            rate_card=self._card(rates),
        )
        self.holds.append(hold)
        period = self._period(row.occurred_at)
        period.settled_nanoeur += row.cost_nanoeur or 0
        self.in_periods.append(HoldPeriod(hold_id=hold.pk, period_id=period.pk))
        if row.status == "error":
            return
        fields = (
            *("user_id", "team_id", "project_id", "app_id", "client_id", "task_type", "key_id"),
            *SESSION_NAMES,
        )
        self.events.append(
            CostEvent(
                org=self.org,
                kind=self._kind(row),
                occurred_at=row.occurred_at,
                recorded_at=row.completed_at or row.occurred_at,
                amount_nanoeur=row.cost_nanoeur or 0,
                estimated_nanoeur=row.estimated_nanoeur or 0,
                request_id=row.pk,
                hold_id=hold.pk,
                model=row.model,
                provider=row.provider or "",
                input_tokens=row.input_tokens,
                output_tokens=row.output_tokens,
                usage=usage.as_dict() if usage else None,
                rate_card=self._card(rates),
                **{name: getattr(row, name) for name in fields},
            )
        )

    def _kind(self, row: AiRequestLog) -> str:
        if row.status == "ok":
            return "usage"
        return "bound" if row.cost_nanoeur == row.hold_nanoeur else "estimate"

    def save(self) -> None:
        """Write everything, in the order in which the tables need each other."""
        Period.objects.bulk_create(self.periods.values())
        AiRequestLog.objects.bulk_create(self.rows, batch_size=500)
        Hold.objects.bulk_create(self.holds, batch_size=500)
        HoldPeriod.objects.bulk_create(self.in_periods, batch_size=500)
        CostEvent.objects.bulk_create(self.events, batch_size=500)
        self._save_lines(DailyCost, lambda period: {"period": period, "day": period.starts_on})
        self._save_lines(MonthlyCost, lambda period: {"month": period.starts_on.replace(day=1)})
        self._save_lines(
            SessionCost,
            lambda period: {"period": period, "day": period.starts_on, "cache_read_tokens": 0},
        )

    def _save_lines(
        self,
        model: type[DailyCost | MonthlyCost | SessionCost],
        of: Callable[[Period], dict[str, Any]],
    ) -> None:
        """Add the events up, as SETTLE does."""
        is_of_sessions = model is SessionCost
        names = (*LINE_NAMES, *SESSION_NAMES) if is_of_sessions else LINE_NAMES
        lines: dict[UUID, Any] = {}
        for event in self.events:
            if is_of_sessions and event.session_id is None:
                continue
            when = of(self._period(event.occurred_at))
            named = {name: getattr(event, name) for name in names}
            texts = tuple([None if value is None else str(value) for value in named.values()])
            whose = when["period"].pk if "period" in when else f"{self.org.pk} {when['month']}"
            line = lines.setdefault(
                line_id(whose, texts),
                model(id=line_id(whose, texts), org=self.org, **when, **named, **NO_SUMS),
            )
            line.amount_nanoeur += event.amount_nanoeur
            line.estimated_nanoeur += event.estimated_nanoeur
            line.events += 1
            line.requests += 1
            line.input_tokens += event.input_tokens or 0
            line.output_tokens += event.output_tokens or 0
        model._default_manager.bulk_create(lines.values(), batch_size=500)


def add_budgets(org: Organization) -> None:
    """Give the organization budgets that hold, that will not, that are full, over and off."""
    for name, share, fields in BUDGETS:
        terms: dict[str, Any] = {"span": BudgetWindow.MONTH, "limit_nanoeur": EURO, **fields}
        budget = create_budget(organization_id=org.pk, terms=BudgetTerms(name=name, **terms))
        (status,) = statuses(org, now(), [budget])
        first = (status.starts_on - timedelta(days=1)).replace(day=1)
        if share:
            budget.limit_nanoeur = max(1, round(status.charged_nanoeur / share))
            budget.save()
        if budget.span == "month":
            before = budget.limit_nanoeur * 4 // 5
            starts_at = day_around(now() - timedelta(days=40), ZoneInfo(org.timezone))[0]
            Period.objects.create(
                org=org,
                scope=budget.scope,
                starts_on=first,
                starts_at=starts_at,
                ends_at=starts_at + timedelta(days=1),
                settled_nanoeur=before,
                limit_nanoeur=budget.limit_nanoeur if budget.is_hard else None,
            )
    Budget.objects.filter(org=org, name="Trial").update(enabled=False)
    each = Budget.objects.get(org=org, name="Each person")
    until, limit_nanoeur = now().date() + timedelta(days=9), 2 * each.limit_nanoeur
    terms_of_one = RaiseTerms(value=LONG_USER, limit_nanoeur=limit_nanoeur, until=until)
    set_raise(organization_id=org.pk, budget_id=each.pk, terms=terms_of_one)


def add_alerts(org: Organization) -> None:
    """Give the organization two channels and alerts: open, acknowledged, sent and not sent."""
    chat = AlertChannel.objects.create(
        org=org, kind="webhook", name="On call", url="https://hooks.chat.invalid/T0/B0/secret"
    )
    people = AlertChannel.objects.create(
        org=org, kind="email", name="Finance", emails=["finance@acme.example"], enabled=False
    )
    evaluate(now(), EvaluationCache())
    today = now().date()
    Alert.objects.create(
        org=org,
        key=f"spike:{today - timedelta(days=3)}:1",
        kind=Alert.Kind.SPIKE,
        sentence="Today's costs are 3.2 times the usual amount: 42.10 EUR by 14:05; a usual "
        'Monday has 13.20 EUR by then. App "ticket-triage" accounts for 87 % of the increase.',
        figures={"costs_query": f"from={today}&to={today}&groupBy=model&appId=ticket-triage"},
        raised_at=now() - timedelta(days=3),
        acknowledged_at=now() - timedelta(days=2),
        acknowledged_by="ada@acme.example",
    )
    for alert in Alert.objects.filter(org=org):
        AlertDelivery.objects.filter(alert=alert).delete()
        for channel, fields in (
            (chat, ("503", "200")),
            (people, ("the mail server answered 550",)),
        ):
            is_delivered = fields[-1] == "200"
            AlertDelivery.objects.create(
                alert=alert,
                channel=channel,
                state="delivered" if is_delivered else "failed",
                tries=len(fields),
                next_try_at=alert.raised_at,
                delivered_at=alert.raised_at if is_delivered else None,
                attempts=[
                    {
                        "at": alert.raised_at.isoformat(timespec="seconds"),
                        "delivered": each == "200",
                        "said": each,
                        "took_ms": 84,
                    }
                    for each in fields
                ],
            )
