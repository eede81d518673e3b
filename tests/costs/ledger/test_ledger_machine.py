"""Any sequence of events leaves the ledger in the state of a small model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from costs.core.admission import Admitted, GatewayDisabled, InsufficientRoom, Stale
from costs.core.holds import State
from costs.ledger import reaper
from costs.models import CostEvent, DailyCost, Hold, HoldPeriod, MonthlyCost, Period
from gateway.models import AiRequestLog, Policy
from orgs.keys import operations
from orgs.models import ApiKey, Organization
from tests.costs.books import (
    Clock,
    Desk,
    ask,
    check_the_books,
    growth,
    prices_version,
    settlement,
)
from tests.costs.model import Holding, Model
from tests.factories import OrganizationFactory, RateFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]

ZONES = ["UTC", "Europe/Paris", "Africa/Cairo", "Pacific/Kiritimati", "America/St_Johns"]
# Shortly before midnights at which clocks change, and one on an ordinary day.
MOMENTS = ["2026-03-28 21:00", "2026-10-24 21:00", "2026-04-23 20:00", "2026-06-01 09:00"]
AMOUNTS = st.integers(min_value=0, max_value=60)
OUTCOMES = st.lists(
    st.sampled_from([State.SETTLED, State.RELEASED, State.UNKNOWN]), min_size=1, max_size=2
)
DEADLINE_S = 210.0


@dataclass
class Held:
    """An admitted call, as the process that made it knows it."""

    asked: Any
    admitted: Admitted


class LedgerMachine(RuleBasedStateMachine):
    """Two organizations, two processes, a clock that only this machine moves."""

    calls = Bundle("calls")

    @initialize(moment=st.sampled_from(MOMENTS), zone=st.sampled_from(ZONES))
    def open(self, moment: str, zone: str) -> None:
        # The reaper sees what others left.
        for table in (HoldPeriod, CostEvent, DailyCost, MonthlyCost, Hold, Period):
            table.objects.all().delete()
        AiRequestLog.objects.all().delete()
        self.clock = Clock(datetime.fromisoformat(moment).replace(tzinfo=UTC))
        self.desks = [Desk(clock=self.clock), Desk(clock=self.clock)]
        self.orgs = [OrganizationFactory.create(timezone=zone) for _ in range(2)]
        self.limits: list[int | None] = [None, None]
        self.seen_at: list[datetime | None] = [None, None]
        self.model = Model()

    def teardown(self) -> None:
        if hasattr(self, "desks"):
            for desk in self.desks:
                desk.close()
            check_the_books()

    # --- calls --------------------------------------------------------------------------------

    @rule(
        target=calls,
        amounts=st.lists(AMOUNTS, min_size=1, max_size=3),
        who=st.integers(0, 1),
        by=st.integers(0, 1),
    )
    def reserve(self, amounts: list[int], who: int, by: int) -> Any:
        org, limit = self._org(who), self.limits[who]
        asks = [ask(org, each, limit=limit, deadline_s=DEADLINE_S) for each in amounts]
        answers, _ = self.desks[by].commit(asks)
        held = []
        for asked, answer in zip(asks, answers, strict=True):
            assert type(answer) is self._expected(
                org, asked.amount_nanoeur or 0, limit, by, asked.id
            )
            if isinstance(answer, Admitted):
                held.append(Held(asked, answer))
        return multiple(*held)

    def _expected(
        self, org: Organization, amount: int, limit: int | None, by: int, id_: Any
    ) -> type:
        if not org.ai_gateway_enabled:
            return GatewayDisabled
        day = self.model.day(org.pk, self.clock.now, org.timezone)
        if not self.model.fits(day, amount, limit):
            return InsufficientRoom
        deadline_at = self.clock.now + timedelta(seconds=DEADLINE_S)
        hold = Holding(org.pk, day, amount, deadline_at)
        self.model.hold(id_, hold, limit)
        return Admitted

    @rule(call=calls, amounts=st.lists(AMOUNTS, min_size=1, max_size=3), by=st.integers(0, 1))
    def grow(self, call: Held, amounts: list[int], by: int) -> None:
        """By any process, also what is settled, and twice in one batch."""
        growths = [growth(call.asked, call.admitted, each) for each in amounts]
        grown = self.desks[by].grow(*growths)
        expected = [self.model.grow(call.asked.id, each) for each in amounts]
        assert [each.amount_nanoeur for each in grown] == expected

    @rule(call=calls, cost=st.integers(0, 90), by=st.integers(0, 1))
    def settle(self, call: Held, cost: int, by: int) -> None:
        self._settle(call, [State.SETTLED], cost, by)

    @rule(call=calls, cost=st.integers(0, 90), by=st.integers(0, 1))
    def lose_sight_and_learn_later(self, call: Held, cost: int, by: int) -> None:
        self._settle(call, [State.UNKNOWN], cost, by)
        self.time_passes(300)
        self._settle(call, [State.SETTLED], cost, 1 - by)

    @rule(call=calls, outcomes=OUTCOMES, cost=st.integers(0, 90), by=st.integers(0, 1))
    def settle_anyhow(self, call: Held, outcomes: list[State], cost: int, by: int) -> None:
        self._settle(call, outcomes, cost, by)

    def _settle(self, call: Held, outcomes: list[State], cost: int, by: int) -> None:
        """By any process, also for the second time, and twice in one batch."""
        costs = [cost if outcome is State.SETTLED else None for outcome in outcomes]
        ends = [
            settlement(call.asked, call.admitted, outcome, cost)
            for outcome, cost in zip(outcomes, costs, strict=True)
        ]
        _, settled = self.desks[by].commit((), ends)
        expected = [
            self.model.settle(call.asked.id, outcome.value, cost)
            for outcome, cost in zip(outcomes, costs, strict=True)
        ]
        assert [each.changed for each in settled] == expected

    @rule(who=st.integers(0, 1), what=st.sampled_from(["config", "prices"]))
    def ask_with_what_is_out_of_date(self, who: int, what: str) -> None:
        org = self._org(who)
        if what == "config":
            asked = ask(org, 1, version=org.config_version - 1)
        else:
            asked = ask(org, 1, prices=prices_version() - 1)
        answer = self.desks[0].reserve(asked)
        assert isinstance(answer, Stale if org.ai_gateway_enabled else GatewayDisabled)

    # --- time, and processes that die -----------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 20, 40, 300, 3600, 5 * 3600, 26 * 3600]))
    def time_passes(self, seconds: int) -> None:
        self.clock.pass_s(seconds)

    @rule(by=st.integers(0, 1))
    def beat(self, by: int) -> None:
        desk = self.desks[by]
        reaper.beat(desk.store, desk.ledger.instance_id, host="here", pid=by)
        self.seen_at[by] = self.clock.now

    @rule(by=st.integers(0, 1))
    def reap(self, by: int) -> None:
        ours = {
            desk.ledger.instance_id: at for desk, at in zip(self.desks, self.seen_at, strict=True)
        }
        stopped = self.clock.now - timedelta(seconds=reaper.DEAD_AFTER_S)
        owners = dict(Hold.objects.filter(id__in=self.model.holds).values_list("id", "instance_id"))
        left = [
            id_
            for id_, hold in self.model.holds.items()
            if hold.state == "held"
            and (hold.deadline_at < self.clock.now or (ours[owners[id_]] or stopped) < stopped)
        ]
        reaped = reaper.Reaper(self.desks[by].ledger).reap(self.desks[by].store)
        assert reaped.settled == sum(self.model.settle(id_, "unknown", None) for id_ in left)

    # --- what people change ---------------------------------------------------------------------

    @rule(who=st.integers(0, 1), nanoeur=st.none() | st.integers(50, 400))
    def change_the_limit(self, who: int, nanoeur: int | None) -> None:
        self.limits[who] = nanoeur
        self._raises_version(
            who,
            lambda org: Policy.objects.update_or_create(
                org=org, name="Daily", defaults={"max_cost_per_day_nanoeur": nanoeur}
            ),
        )

    @rule(who=st.integers(0, 1), zone=st.sampled_from(ZONES))
    def move_the_organization(self, who: int, zone: str) -> None:
        self._raises_version(
            who, lambda org: Organization.objects.filter(pk=org.pk).update(timezone=zone)
        )

    @rule(who=st.integers(0, 1), enabled=st.sampled_from([True, True, True, False]))
    def switch(self, who: int, enabled: bool) -> None:
        self._raises_version(
            who,
            lambda org: Organization.objects.filter(pk=org.pk).update(ai_gateway_enabled=enabled),
        )

    @rule(who=st.integers(0, 1))
    def revoke_a_key(self, who: int) -> None:
        key, _ = operations.create_key(org=self._org(who), name=f"key {ApiKey.objects.count()}")
        self._raises_version(who, lambda _: operations.revoke_key(key=key))

    @rule()
    def change_a_price(self) -> None:
        before = prices_version()
        RateFactory.create(model=f"model-{before}")
        assert prices_version() > before

    def _raises_version(self, who: int, change: Any) -> None:
        before = self._org(who)
        change(before)
        assert self._org(who).config_version > before.config_version

    def _org(self, who: int) -> Organization:
        return Organization.objects.get(pk=self.orgs[who].pk)

    # --- the books ------------------------------------------------------------------------------

    @invariant()
    def the_books_are_as_the_model_has_them(self) -> None:
        if not hasattr(self, "orgs"):
            return
        periods = Period.objects.filter(org__in=self.orgs).order_by("org_id", "starts_at")
        columns = ("starts_at", "ends_at", "limit_nanoeur", "held_nanoeur", "settled_nanoeur")
        assert list(periods.values_list(*columns, "overrun_nanoeur")) == [
            (day.starts_at, day.ends_at, day.limit, day.held, day.settled, day.overrun)
            for org in sorted(self.model.days)
            for day in self.model.days[org]
        ]
        states = dict(Hold.objects.filter(org__in=self.orgs).values_list("id", "state"))
        assert states == {id_: hold.state for id_, hold in self.model.holds.items()}
        charges: dict[Any, list[int]] = {id_: [] for id_ in states}
        for id_, amount in (
            CostEvent.objects.filter(org__in=self.orgs)
            .order_by("id")
            .values_list("hold_id", "amount_nanoeur")
        ):
            charges[id_].append(amount)
        assert charges == {id_: hold.charges for id_, hold in self.model.holds.items()}

    @invariant()
    def nothing_was_admitted_past_a_limit(self) -> None:
        for days in getattr(self, "model", Model()).days.values():
            for day in days:
                assert day.limit is None or day.settled + day.held <= day.limit


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_sequence_of_events_matches_model(
    transactional_db: None,
) -> None:
    run(examples=30, steps=40)


@pytest.mark.long
def test_many_long_sequences_of_events_match_model(
    transactional_db: None,
) -> None:
    run(examples=150, steps=50)
