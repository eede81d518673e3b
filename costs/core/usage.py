"""Token usage as disjoint buckets: each token is counted in exactly one of them."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from orgs.core.frozen import frozen

INPUT_BUCKETS: Final = (
    "input_uncached",
    "cache_read",
    "cache_read_audio",
    "cache_write_5m",
    "cache_write_30m",
    "cache_write_1h",
    "cache_write_12h",
    "cache_write_other",
    "input_audio",
    "input_image",
    "tool_prompt",
)
OUTPUT_BUCKETS: Final = ("output_text", "output_reasoning", "output_audio")
TOKEN_BUCKETS: Final = INPUT_BUCKETS + OUTPUT_BUCKETS
# Calls that have a fee: by the current search tool and by OpenAI's earlier one.
FEES: Final = ("web_searches", "web_search_previews")
_COUNTS: Final = (*TOKEN_BUCKETS, *FEES)
_KEPT: Final = (*_COUNTS, "service_tier", "place")
_counts_of: Final = attrgetter(*_COUNTS)
_kept_of: Final = attrgetter(*_KEPT)
_input_of: Final = attrgetter(*INPUT_BUCKETS)
_output_of: Final = attrgetter(*OUTPUT_BUCKETS)
STANDARD_TIER: Final = "standard"
# Where a request is processed unless it asks for a region, or its provider's address has one.
STANDARD_PLACE: Final = "global"
_OMITTED: Final = frozenset({0, STANDARD_PLACE})
# Far above any context window. A report beyond it is unusable, and its cost would not fit a row.
COUNT_MAX: Final = 10**9


class UnusableUsage(ValueError):
    """A provider reported counts that cannot be true: negative, huge, not integers, or absent."""


@frozen
class Usage:
    """The usage of one call, normalised from a vendor's report.

    Counts are tokens, except those of FEES (calls). `cache_write_other` are cache writes of a
    lifetime that no price list names, so they have no price. `reported_total` is the vendor's own
    sum if it reports one; when it differs from ours `adds_up` is False and the row is flagged.
    Raises UnusableUsage for counts that are negative, huge or not integers.
    """

    input_uncached: int = 0
    cache_read: int = 0
    cache_read_audio: int = 0
    cache_write_5m: int = 0
    cache_write_30m: int = 0
    cache_write_1h: int = 0
    cache_write_12h: int = 0
    cache_write_other: int = 0
    input_audio: int = 0
    input_image: int = 0
    output_text: int = 0
    output_reasoning: int = 0
    output_audio: int = 0
    tool_prompt: int = 0
    web_searches: int = 0
    web_search_previews: int = 0
    service_tier: str = STANDARD_TIER
    place: str = STANDARD_PLACE
    reported_total: int | None = None

    def __post_init__(self) -> None:
        for name, count in zip(_COUNTS, _counts_of(self), strict=True):
            if type(count) is not int or not 0 <= count <= COUNT_MAX:
                raise UnusableUsage(
                    f"{name} must be an integer from 0 to {COUNT_MAX}, not {count!r}"
                )

    @property
    def input_tokens(self) -> int:
        """All input tokens, cached or not."""
        return sum(_input_of(self))

    def tokens_of(self, prefix: str) -> int:
        """Return the input tokens of the buckets whose name begins with `prefix`."""
        return sum(getattr(self, name) for name in INPUT_BUCKETS if name.startswith(prefix))

    @property
    def output_tokens(self) -> int:
        """All output tokens, reasoning included."""
        return sum(_output_of(self))

    @property
    def total_tokens(self) -> int:
        """Every token of the call."""
        return self.input_tokens + self.output_tokens

    @property
    def adds_up(self) -> bool:
        """Whether the buckets add up to the provider's own total, if it reported one."""
        return self.reported_total is None or self.reported_total == self.total_tokens

    def as_dict(self) -> dict[str, int | str]:
        """Return what is not empty and not standard, for the audit row and the cost event."""
        values = zip(_KEPT, _kept_of(self), strict=True)
        return {name: value for name, value in values if value not in _OMITTED}


@frozen
class UsageCeiling:
    """The maximum usage of one call.

    `without` names buckets that the request cannot use, such as audio or one-hour cache writes.
    `service_tier` and `place` are those that it asks for. A call `at_highest_rates` may be
    billed at any rate of its model: any band, tier and bucket.
    """

    input_tokens: int
    output_tokens: int
    service_tier: str = STANDARD_TIER
    place: str = STANDARD_PLACE
    web_searches: int = 0
    web_search_previews: int = 0
    without: frozenset[str] = frozenset()
    at_highest_rates: bool = False
