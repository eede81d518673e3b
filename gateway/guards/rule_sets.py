"""The policies that apply to one call, with what follows from them together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter
from typing import Final

from costs.core.admission import ORG_SCOPE
from costs.core.rate_limits import RateLimit
from gateway.core.usage_bound import UsesLimit
from gateway.guards.cost_limits import DayLimit
from gateway.guards.dimensions import Requirements
from gateway.guards.policies import Rule
from gateway.guards.rates import rate_limit_of
from orgs.core.spelling import folded

# Of one organization: calls choose the dimensions that policies name.
RULE_SETS_MAX: Final = 256


@dataclass(frozen=True, kw_only=True)
class RuleSet:
    """The policies that apply to a call, by name; watched ones limit nothing.

    `places` are theirs among all of the organization's.
    """

    rules: tuple[Rule, ...] = ()
    places: tuple[int, ...] = ()

    @cached_property
    def enforced(self) -> tuple[Rule, ...]:
        """Those that are not watched."""
        return tuple([rule for rule in self.rules if not rule.is_watched])

    @cached_property
    def token_limit(self) -> int | None:
        """The smallest limit of the tokens of a request: a rate's is what a minute allows."""
        return self._smallest(attrgetter("tokens_at_most"))

    @cached_property
    def output_limit(self) -> int | None:
        """The smallest limit of output tokens."""
        return self._smallest(attrgetter("max_output_tokens"))

    @cached_property
    def searches_limit(self) -> UsesLimit | None:
        """The smallest limit of web searches.

        It is at least 1: by a limit of 0 requests that could search are refused.
        """
        limits = [
            UsesLimit(most=max(1, rule.web_searches_per_request), policy=rule.name)
            for rule in self.enforced
            if rule.web_searches_per_request is not None
        ]
        return min(limits, key=attrgetter("most"), default=None)

    @cached_property
    def of_sessions(self) -> tuple[Rule, ...]:
        """The policies that limit sessions."""
        return tuple([rule for rule in self.enforced if rule.limits_sessions])

    @cached_property
    def days(self) -> tuple[DayLimit, ...]:
        """The limits per day: the organization's, in which every call counts, and those of policies
        that name calls. A watched one counts and refuses nothing.
        """
        of_scope: dict[str, list[Rule]] = {ORG_SCOPE: []}
        for rule in self.rules:
            if rule.max_cost_per_day_nanoeur is not None:
                of_scope.setdefault(rule.cost_scope, []).append(rule)
        return tuple(
            [
                DayLimit(scope=scope, rules=tuple([each for each in of if not each.is_watched]))
                for scope, of in of_scope.items()
            ]
        )

    @cached_property
    def rates(self) -> tuple[RateLimit, ...]:
        """The rates in which each call counts, also those of watched policies."""
        limits = (rate_limit_of(rule) for rule in self.rules)
        return tuple([limit for limit in limits if limit is not None])

    @cached_property
    def counts_tokens(self) -> bool:
        """Whether each call takes its tokens from a rate, and so needs their count."""
        return any(rate.tokens_per_minute is not None for rate in self.rates)

    @cached_property
    def requirements(self) -> tuple[tuple[str, Requirements], ...]:
        """What policies require of a call's dimensions, by their names."""
        return tuple(
            [(rule.name, rule.requirements) for rule in self.enforced if rule.requirements]
        )

    @cached_property
    def is_limited(self) -> bool:
        """Whether a limit applies to each request, so that it needs a bound."""
        return (
            self.token_limit is not None
            or self.output_limit is not None
            or any(day.rules for day in self.days)
        )

    @cached_property
    def watched_costs(self) -> tuple[Rule, ...]:
        """The watched policies with a limit of money."""
        return tuple(
            [
                rule
                for rule in self.rules
                if rule.is_watched
                and (rule.max_cost_per_day_nanoeur is not None or rule.limits_sessions)
            ]
        )

    def if_on(self, watched: Rule) -> RuleSet:
        """Return what would limit the call if a watched policy were on, too."""
        return RuleSet(rules=(*self.enforced, replace(watched, is_watched=False)))

    @cached_property
    def counted_tokens_limit(self) -> int | None:
        """The smallest limit of tokens, also of watched policies: it has to be counted for them."""
        limits = (rule.tokens_at_most for rule in self.rules)
        return min((limit for limit in limits if limit is not None), default=None)

    def of_all(self, verdicts: Sequence[str]) -> tuple[str, ...]:
        """Return its policies' verdicts, of those of all of the organization's policies."""
        return tuple([verdicts[place] for place in self.places])

    def _smallest(self, limit_of: Callable[[Rule], int | None]) -> int | None:
        limits = [limit for rule in self.enforced if (limit := limit_of(rule)) is not None]
        return min(limits, default=None)


class RuleIndex:
    """An organization's policies, and the sets of them that apply to its calls."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = tuple(rules)
        # Then all calls of a session count in it, also those that no such policy names.
        self.limits_sessions = any(rule.limits_sessions for rule in self.rules)
        self._naming = [place for place, rule in enumerate(self.rules) if rule.applies_to]
        self._sets: dict[tuple[int, ...], RuleSet] = {}

    def of(self, values: Mapping[str, str]) -> RuleSet:
        """Return the policies of a call with these values, by the names of NAMED_BY."""
        known = {name: folded(value) for name, value in values.items()} if self._naming else {}
        others = tuple(
            [place for place in self._naming if not self.rules[place].applies_to.includes(known)]
        )
        found = self._sets.get(others)
        if found is None:
            places = [place for place in range(len(self.rules)) if place not in others]
            found = RuleSet(
                rules=tuple([self.rules[place] for place in places]), places=tuple(places)
            )
            if len(self._sets) >= RULE_SETS_MAX:
                self._sets.clear()
            self._sets[others] = found
        return found
