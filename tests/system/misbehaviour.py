"""Every kind of provider misbehaviour, and its expected outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

TIMEOUT_S: Final = 2
PLAIN, STREAMED = "plain", "streamed"
GARBAGE: Final = "<html>not what you think</html>"
EVENTS: Final = {"content-type": "text/event-stream"}
# Every vendor's names for what a call used.
COUNTS: Final = (
    *("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens"),
    *("promptTokenCount", "candidatesTokenCount", "totalTokenCount"),
)
ERROR_EVENT: Final = 'event: error\ndata: {"type": "error", "error": {"message": "no"}}\n\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A provider's behaviour, and the expected outcome.

    `status` is that of the response; where a stream had begun, with events or with its head alone,
    it is 200 and the end is an error.
    `state` is the hold's: settled is charged by the usage, unknown whole, released not at all.
    """

    name: str
    behaviour: dict[str, Any]
    status: int
    code: str | None
    state: str
    ways: tuple[str, ...] = (PLAIN, STREAMED)
    has_begun: bool = False
    has_head: bool = False
    max_tokens: int = 60
    retry_after: str | None = None

    @property
    def is_own(self) -> bool:
        """Whether the provider answers with an error of its own, not about our key."""
        is_error = self.behaviour.get("status", 200) >= 400
        is_about_key = self.code == "provider_credentials"
        return is_error and "body" not in self.behaviour and not is_about_key

    def begins(self, *, streamed: bool, shows_head: bool = True) -> bool:
        """Whether the client's stream had begun; not all show the head before the first event."""
        return self.has_begun or (streamed and self.has_head and shows_head)

    @property
    def waits(self) -> bool:
        """Whether it ends at the gateway's timeout."""
        return self.code == "provider_timeout" and "status" not in self.behaviour


UNKNOWN_502: Final[dict[str, Any]] = {"status": 502, "code": "provider_error", "state": "unknown"}
UNKNOWN_504: Final[dict[str, Any]] = {"status": 504, "code": "provider_timeout", "state": "unknown"}
# Of a proxy, perhaps: not the vendor's own error.
NOT_OWN: Final = ((" without a body", {"body": ""}), (" in HTML", {"body": GARBAGE}))


def _refused(status: int, code: str = "provider_error") -> list[Case]:
    """A 4xx proves that nothing was billed, a 5xx only if it is the vendor's own error."""
    is_limit = status == 429
    common: dict[str, Any] = {
        "status": 429 if is_limit else 502,
        "code": "provider_rate_limited" if is_limit else code,
        "state": "released",
        "retry_after": "1" if is_limit else None,
    }
    own = Case(name=f"{status}", behaviour={"status": status}, **common)
    others = UNKNOWN_502 if status >= 500 else common
    return [
        own,
        *(
            Case(name=f"{status}{suffix}", behaviour={"status": status, **body}, **others)
            for suffix, body in NOT_OWN
        ),
    ]


UNREPORTED: Final[dict[str, Any]] = {"status": 200, "code": None, "state": "unknown"}
WELL: Final[dict[str, Any]] = {"status": 200, "code": None, "state": "settled"}

CASES: Final = [
    Case(name="nothing bad", behaviour={}, **WELL),
    Case(name="a drip", behaviour={"drip_s": 0.02}, **WELL),
    Case(name="usage twice", behaviour={"usage_twice": True}, **WELL),
    Case(name="usage above the cap", behaviour={"output_tokens": 9_000}, **WELL),
    Case(name="no usage", behaviour={"no_usage": True}, **UNREPORTED),
    *(
        Case(name=name, behaviour={"usage": dict.fromkeys(COUNTS, count)}, **UNREPORTED)
        for name, count in (
            ("usage below nothing", -1),
            ("usage beyond all bounds", 10**15),
        )
    ),
    *(case for status in (400, 429, 500, 529) for case in _refused(status)),
    *(_refused(status)[0] for status in (404, 502, 503, 520)),
    *(_refused(status, "provider_credentials")[0] for status in (401, 403)),
    *(_refused(status)[2] for status in (502, 503, 520, 523)),
    Case(
        name="429 that says how long",
        behaviour={"status": 429, "headers": {"retry-after": "7"}},
        status=429,
        code="provider_rate_limited",
        state="released",
        retry_after="7",
    ),
    *(
        Case(name=f"{name} {status}", behaviour={"status": status, **body}, **UNKNOWN_504)
        for status in (408, 504, 524)
        for name, body in (("its own", {}), ("a proxy's", {"body": GARBAGE}))
    ),
    Case(
        name="a redirect",
        behaviour={"status": 307, "headers": {"location": "/elsewhere"}},
        **UNKNOWN_502,
    ),
    Case(
        name="an error as a success",
        behaviour={"body": {"error": {"message": "no"}}},
        **UNKNOWN_502,
    ),
    Case(name="garbage as a success", behaviour={"body": GARBAGE}, **UNKNOWN_502),
    Case(
        name="garbage as events",
        behaviour={"body": GARBAGE, "headers": EVENTS},
        ways=(STREAMED,),
        has_head=True,
        **UNKNOWN_502,
    ),
    Case(name="an empty success", behaviour={"body": ""}, **UNKNOWN_502),
    Case(name="an empty object", behaviour={"body": {}}, **UNKNOWN_502),
    Case(name="reset before the body", behaviour={"reset": "before"}, **UNKNOWN_502),
    Case(name="reset after the body", behaviour={"reset": "after"}, **UNKNOWN_502),
    Case(name="cut at once", behaviour={"cut_after_bytes": 5}, has_head=True, **UNKNOWN_502),
    Case(
        name="cut in mid-answer", behaviour={"cut_after_bytes": 120}, ways=(PLAIN,), **UNKNOWN_502
    ),
    Case(
        name="cut in mid-stream",
        behaviour={"cut_after_bytes": 1600},
        ways=(STREAMED,),
        has_begun=True,
        **UNKNOWN_502,
    ),
    Case(
        name="an error in mid-stream",
        behaviour={"extra_events": (ERROR_EVENT,)},
        ways=(STREAMED,),
        has_begun=True,
        **UNKNOWN_502,
    ),
    Case(
        name="an answer too late",
        behaviour={"pause_s": 30, "counts_at_once": False},
        **UNKNOWN_504,
    ),
    Case(name="no answer at all", behaviour={"stall": "headers"}, **UNKNOWN_504),
    Case(
        name="a body that stalls",
        behaviour={"stall": "body", "stall_after_events": 0},
        has_head=True,
        **UNKNOWN_504,
    ),
    Case(
        name="a stream that stalls",
        behaviour={"stall": "body", "stall_after_events": 4},
        ways=(STREAMED,),
        has_begun=True,
        **UNKNOWN_504,
    ),
    Case(
        name="a stream without an end",
        behaviour={"endless": True},
        ways=(STREAMED,),
        has_begun=True,
        **UNKNOWN_504,
    ),
]
