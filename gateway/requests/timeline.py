"""The timeline of a request, built from its rows and its decision trace.

A trace may lack any part: requests are refused at every stage, and rows outlive the code that
wrote them. Missing parts are omitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from costs.models import CostEvent, Hold, HourCost
from costs.templatetags.figures import eur
from gateway.console.sentences import listed
from gateway.core.calls import CHANNELS
from gateway.core.traces import integer, items, mapping, text, texts
from gateway.models import AiRequestLog
from gateway.requests.pricing import Fact, unpriced
from gateway.requests.reports import RequestHour, RequestStory
from gateway.requests.verdicts import (
    BAD,
    GOOD,
    IDLE,
    WAIT,
    BudgetVerdict,
    Verdict,
    budget_verdict_of,
    judgement,
    verdict_of,
)

STATUS_TONES: Final = {
    "ok": (GOOD, "✓"),
    "pending": (WAIT, "…"),
    "unknown": (WAIT, "?"),
    "blocked": (BAD, "✕"),
    "error": (BAD, "!"),
}
HOLD_TONES: Final = {"held": WAIT, "settled": GOOD, "released": IDLE, "unknown": WAIT}
HOLD_WORDS: Final = {
    "held": "still held",
    "settled": "settled at the usage the provider reported",
    "released": "released: nothing was billed",
    "unknown": "charged at the held maximum; actual cost unknown",
}
# Failures of a call that was held and never sent.
NEVER_SENT: Final = frozenset(
    {"provider_not_configured", "provider_unavailable", "ledger_unavailable", "client_disconnected"}
)
# What decided the output cap.
CAP_WORDS: Final = {
    "caller": "as requested",
    "model": "the model's maximum",
    "context": "what the input leaves of the model's context",
    "policy": "what a policy allows",
    "room": "what was left of a limit",
}
NO_PRICE: Final = (
    "No price for: {}; charged at the highest known price, and not less than was held."
)


@dataclass(frozen=True, slots=True)
class Status:
    """A request's status as a badge: never colour alone."""

    word: str
    tone: str
    sign: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineStep:
    """One step of the story. `tone` colours its dot."""

    title: str
    tone: str
    sentence: str = ""
    at: datetime | None = None
    facts: tuple[Fact, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    budgets: tuple[BudgetVerdict, ...] = ()


def status_badge(status: str) -> Status:
    """Return how a status is shown."""
    tone, sign = STATUS_TONES.get(status, (IDLE, ""))
    return Status(word=status, tone=tone, sign=sign)


def steps(story: RequestStory) -> list[TimelineStep]:
    """Return the steps in order: received, checked, held, sent, answered or blocked, charged."""
    row = story.row
    trace = mapping(row.decision)
    story_steps = [_asked(row, trace), _judged(story, trace)]
    story_steps += _waited(trace)
    story_steps += _tried(story, trace)
    if story.holds and row.status != "pending":
        story_steps.append(_sent(row, trace))
    story_steps.append(_ended(row, was_held=bool(story.holds)))
    story_steps += [_charged(event, unpriced(row), story.hour) for event in story.events]
    if row.status in ("ok", "unknown") or story.events:
        return story_steps
    return [*story_steps, _not_charged(row)]


def _asked(row: AiRequestLog, trace: Mapping[str, Any]) -> TimelineStep:
    model, given = mapping(trace.get("model")), mapping(trace.get("input"))
    path = CHANNELS.get(row.channel, row.channel)
    facts = [
        Fact("requested model", text(model.get("requested")) or row.requested_model),
        Fact("resolved model", text(model.get("meant"))),
        Fact("provider", text(model.get("provider")) or row.provider),
        Fact("input", _counted(given.get("bytes"), "bytes")),
        Fact("counted input", _counted(given.get("counted_tokens"), "tokens")),
        Fact("stored at the provider", _counted(given.get("kept_tokens"), "tokens at most")),
        Fact("via", f"{path}, streamed" if row.stream else path),
    ]
    return TimelineStep(title="Received", tone=GOOD, at=row.occurred_at, facts=_known(facts))


def _judged(story: RequestStory, trace: Mapping[str, Any]) -> TimelineStep:
    row, names = story.row, _names(story)
    verdicts = tuple(verdict_of(item, names) for item in items(trace.get("policies")))
    limits = [*items(trace.get("budgets")), *items([trace.get("session")])]
    budgets = tuple(budget_verdict_of(item, story.budget_ids) for item in limits)
    facts = [
        Fact(name, _counted(number, what))
        for name, of, what in (
            ("not listed", "policies_left_out", "more policies"),
            ("of other requests only", "policies_of_other_calls", "policies"),
        )
        if (number := integer(trace.get(of)))
    ]
    return TimelineStep(
        title="Policy check",
        tone=BAD if row.status == "blocked" else GOOD,
        sentence=judgement(row, verdicts, budgets),
        facts=tuple(facts),
        verdicts=verdicts,
        budgets=budgets,
    )


def _names(story: RequestStory) -> dict[str, str]:
    """Return what people and the request's key are called, by their ids. A policy names a key by
    the first of its rotations, which have its name.
    """
    names, key_id = dict(story.names.people), story.row.key_id
    if key_id in story.names.keys:
        named = items(mapping(story.row.decision).get("policies"))
        ids = {text(mapping(item.get("applies_to")).get("key_id")) for item in named}
        names |= {of: story.names.keys[key_id] for of in ids if of}
    return names


def _waited(trace: Mapping[str, Any]) -> list[TimelineStep]:
    """Return the wait for room, or for a turn in a rate, of a call that waited."""
    waited = mapping(trace.get("waited"))
    wait_ms = integer(waited.get("ms"))
    if wait_ms is None:
        return []
    held, rates = (
        [f'"{name}"' for name in texts(waited.get(names))] for names in ("for", "for_rates")
    )
    sentences = [f"Running calls held what was left of {listed(held)}."] if held else []
    sentences += [f"It was over a rate of {listed(rates)}."] if rates else []
    facts = (Fact("for", f"{wait_ms:,} ms"),)
    return [TimelineStep(title="Waited", tone=WAIT, sentence=" ".join(sentences), facts=facts)]


def _held(hold: Hold, trace: Mapping[str, Any]) -> TimelineStep:
    before, after = mapping(trace.get("before")), mapping(trace.get("after"))
    facts = [
        Fact("held", eur(hold.amount_nanoeur)),
        Fact("daily limit left before", _amount(before.get("left_nanoeur"))),
        Fact("daily limit left after", _amount(after.get("left_nanoeur"))),
        Fact("charged that day before", _amount(before.get("charged_nanoeur"))),
        Fact("held by other calls", _amount(before.get("held_nanoeur"))),
    ]
    return TimelineStep(
        title="Held",
        tone=HOLD_TONES.get(hold.state, IDLE),
        at=hold.held_at,
        sentence=f"The maximum cost was held; {_hold_words(hold)}.",
        facts=_known(facts),
    )


def _hold_words(hold: Hold) -> str:
    if hold.state == "unknown" and hold.charged_nanoeur < hold.amount_nanoeur:
        return "charged at an estimate; actual cost unknown"
    return HOLD_WORDS.get(hold.state, hold.state)


def _sent(row: AiRequestLog, trace: Mapping[str, Any]) -> TimelineStep:
    provider = row.provider or "the provider"
    never_left = row.status == "error" and row.code in NEVER_SENT
    sentence = f"Nothing was sent to {provider}." if never_left else f"Sent to {provider}."
    facts = [
        Fact("model", text(mapping(trace.get("model")).get("meant"))),
        Fact("output cap", _cap(trace)),
        Fact("web searches", _searches(trace)),
        *(Fact("not known here", name) for name in texts(trace.get("unknown"))),
        *(Fact("adjusted", sentence) for sentence in texts(trace.get("adjustments"))),
    ]
    tone = IDLE if never_left else GOOD
    return TimelineStep(
        title="Not sent" if never_left else "Sent",
        tone=tone,
        sentence=sentence,
        facts=() if never_left else _known(facts),
    )


def _tried(story: RequestStory, trace: Mapping[str, Any]) -> list[TimelineStep]:
    """Return each hold by its own trace and, where an alias has several models, how each fared."""
    kept = items(story.row.attempts)
    made = {text(attempt.get("hold_id")): attempt for attempt in kept}
    entries = [
        (_moment(attempt), [_not_answered(attempt)])
        for attempt in kept
        if not attempt.get("hold_id")
    ]
    for hold in story.holds:
        attempt = made.get(str(hold.id))
        if attempt is None:
            entries.append((hold.held_at, [_held(hold, trace)]))
        else:
            own = mapping(attempt.get("decision"))
            entries.append((hold.held_at, [_held(hold, own), _not_answered(attempt)]))
    entries.sort(key=lambda entry: entry[0])
    return [step for _, several in entries for step in several]


def _not_answered(attempt: Mapping[str, Any]) -> TimelineStep:
    was_made = attempt.get("hold_id") is not None
    latency = integer(attempt.get("latency_ms"))
    facts = [
        Fact("model", text(attempt.get("model"))),
        Fact("provider", text(attempt.get("provider"))),
        Fact("after", None if latency is None else f"{latency:,} ms"),
        Fact("code", text(attempt.get("code"))),
    ]
    return TimelineStep(
        title="No answer" if was_made else "Skipped",
        tone=BAD if was_made else IDLE,
        sentence=text(attempt.get("error")) or "",
        facts=_known(facts),
    )


def _moment(attempt: Mapping[str, Any]) -> datetime:
    try:
        return datetime.fromisoformat(text(attempt.get("at")) or "")
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _ended(row: AiRequestLog, *, was_held: bool) -> TimelineStep:
    facts = _known(
        [
            Fact("after", f"{row.latency_ms:,} ms" if row.latency_ms is not None else None),
            Fact("finish reason", _finish_reason(row)),
            Fact("code", row.code),
        ]
    )
    ends = {
        "ok": ("Answered", GOOD, f"{row.provider or 'The provider'} answered."),
        "pending": ("Sent", WAIT, "Waiting for the answer."),
        "blocked": ("Blocked", BAD, row.error or "Nothing was sent."),
        "error": ("Failed" if was_held else "Not sent", BAD, row.error or ""),
        "unknown": ("Outcome unknown", WAIT, row.error or ""),
    }
    title, tone, sentence = ends.get(row.status, (row.status, IDLE, row.error or ""))
    return TimelineStep(title=title, tone=tone, sentence=sentence, at=row.completed_at, facts=facts)


def _cap(trace: Mapping[str, Any]) -> str | None:
    tokens = _counted(trace.get("output_cap"), "tokens")
    decided = CAP_WORDS.get(text(trace.get("output_cap_by")) or "")
    return f"{tokens}: {decided}" if tokens and decided else tokens


def _searches(trace: Mapping[str, Any]) -> str | None:
    most = integer(trace.get("web_searches"))
    return f"at most {most:,}" if most else None


def _finish_reason(row: AiRequestLog) -> str | None:
    usage = mapping(row.usage)
    if usage.get("cut_by") is None:
        return row.finish_reason
    # The provider was stopped before it reported any.
    is_sliced = mapping(row.decision).get("hold") == "slices" and usage.get("buckets") is None
    where = "where its hold could not grow" if is_sliced else "at the cap that the gateway wrote"
    return f"{row.finish_reason}, {where}"


def _charged(
    event: CostEvent, no_price_for: Sequence[str], hour: RequestHour | None
) -> TimelineStep:
    titles = {
        "usage": ("Charged", GOOD, "For the usage the provider reported."),
        "bound": ("Charged", WAIT, "The whole hold, because the outcome is unknown."),
        "estimate": (
            "Charged",
            WAIT,
            "What the provider can have produced by then at most, because the outcome is unknown.",
        ),
        "correction": ("Corrected", GOOD, "The difference, once the outcome was known."),
        "adjustment": ("Adjusted", GOOD, "The difference to its share of the hour."),
    }
    title, tone, sentence = titles.get(event.kind, (event.kind, IDLE, ""))
    if no_price_for and event.kind in ("usage", "correction"):
        tone = WAIT
        sentence += f" {NO_PRICE.format(', '.join(no_price_for))}"
    if hour and event.rate_card.rates.get("by_hour") and event.kind in ("usage", "correction"):
        tone = GOOD if hour.has_share else WAIT
        sentence += f" {_priced_by_hour(hour)}"
    facts = [Fact("amount", eur(event.amount_nanoeur))]
    if event.kind == "adjustment" and hour and hour.counted:
        facts += _of_hour(hour.counted)
    if event.estimated_nanoeur:
        facts.append(Fact("of it estimated", eur(event.estimated_nanoeur)))
    return TimelineStep(
        title=title, tone=tone, sentence=sentence, at=event.recorded_at, facts=tuple(facts)
    )


def _priced_by_hour(hour: RequestHour) -> str:
    if hour.counted is None:
        return "Priced by the hour, which is not over: an estimate by the price of its tokens."
    if hour.has_share:
        return "Priced by the hour: an estimate until the hour was divided."
    return "Priced by the hour, which was divided before this was known: it stays an estimate."


def _of_hour(counted: HourCost) -> list[Fact]:
    return [
        Fact("hour", f"{counted.starts_at:%Y-%m-%d %H:%M} UTC"),
        Fact("cost of the hour", eur(counted.amount_nanoeur)),
        Fact("divided", eur(counted.divided_nanoeur)),
        Fact("tokens of the hour", _counted(counted.tokens, "tokens")),
    ]


def _not_charged(row: AiRequestLog) -> TimelineStep:
    if row.status == "pending":
        return TimelineStep(title="Not charged yet", tone=WAIT)
    return TimelineStep(title="Nothing charged", tone=IDLE)


def _known(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    return tuple(fact for fact in facts if fact.value is not None and fact.value != "")


def _counted(value: object, unit: str) -> str | None:
    number = integer(value)
    return None if number is None else f"{number:,} {unit}"


def _amount(value: object) -> object:
    nanoeur = integer(value)
    return None if nanoeur is None else eur(nanoeur)
