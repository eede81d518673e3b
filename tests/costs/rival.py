"""A competing process for race tests: `python -m tests.costs.rival`.

Reads one JSON object from its input, waits there for a line, reserves from several threads at
once, and prints how many calls were admitted and how many did not fit.
"""

from __future__ import annotations

import json
import os
import sys
from itertools import cycle
from threading import Barrier
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pulse.settings")
django.setup()

from costs.core.rate_limits import RateLimit  # noqa: E402  the apps are ready only now
from costs.ledger.connect import open_store  # noqa: E402
from costs.ledger.writer import Writer  # noqa: E402
from orgs.models import Organization  # noqa: E402
from tests.costs.books import admitted_and_full, ask, new_ledger  # noqa: E402
from tests.costs.clients import reserve_together  # noqa: E402

TOKENS = 100


def main() -> None:
    """Take part in one race."""
    wanted: dict[str, Any] = json.loads(sys.stdin.readline())
    org = Organization.objects.get(pk=wanted["org"])
    # Calls take from the rates in turn, one each.
    rates: list[tuple[RateLimit, ...]] = [
        (RateLimit(**rate),) for rate in wanted.get("rates", ())
    ] or [()]
    asks = [
        ask(org, wanted["nanoeur"], limit=wanted["limit"], rates=taken, tokens=TOKENS)
        for taken, _ in zip(cycle(rates), range(wanted["clients"]), strict=False)
    ]
    writer = Writer(open_store=open_store, ledger=new_ledger())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    answers = reserve_together([writer], asks, barrier=Barrier(len(asks)))
    # The heartbeat stays: to say that it stopped would have its holds reaped.
    sys.stdout.write(json.dumps(admitted_and_full(answers)) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
