"""Replay a working day for each limit and way to hold, and print what became of its turns."""

from __future__ import annotations

import argparse
import os
import sys

import django


def main() -> int:
    """Print the tables; return 1 if a hold that covers the whole cost passed a limit."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pulse.settings")
    django.setup()
    from benchmarks.simulation import tables  # noqa: PLC0415  after django.setup

    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation")
    parser.add_argument("--developers", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    return tables.print_all(developers=options.developers, seed=options.seed)


if __name__ == "__main__":
    sys.exit(main())
