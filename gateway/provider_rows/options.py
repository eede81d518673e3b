"""The options of `providers add` and `update`, and the values of a row that they give.

An empty value (`--concurrent ""`, `--header ""`) removes what was set.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from django.core.management.base import CommandParser

from gateway.core.model_names import canonical
from gateway.core.providers import DIALECTS
from gateway.provider_rows.operations import GivenSecret
from gateway.provider_rows.terms import CAP_NAMES
from gateway.providers.secrets import SECRET_MAX_CHARS
from orgs.core.errors import Invalid

# option, column, how its value is written, what it is
_TEXTS: Final = (
    ("--base-url", "base_url", "URL", "where it is, with the version of OpenAI's paths (/v1)"),
    ("--title", "title", "TEXT", "the name in messages"),
    ("--auth", "auth", "AUTH", "bearer, header:NAME, query:NAME, none, google, entra or sigv4:R/S"),
    ("--fixed-name", "fixed_name", "NAME", "what it calls every model"),
)
_LISTS: Final = (
    ("--dialects", "dialects", "D,…", f"the APIs that it has: {', '.join(DIALECTS)}"),
    ("--drop", "dropped", "PLACE,…", "fields that it refuses: logprobs, messages[].name"),
    ("--regions", "regions", "TAG,…", "tags that policies name"),
)
_NUMBERS: Final = (
    ("--weight", "weight", "its share of the bare model names that it lists; 0 for none"),
    ("--order", "order", "lower ones are used first"),
)
_LIMITS: Final = (
    ("--concurrent", "concurrent_calls", "the most calls that run at once"),
    ("--context", "context_tokens", "the context of its models, in tokens"),
    ("--max-output", "max_output_tokens", "the most output of its models, in tokens"),
)
_TIMES: Final = (
    ("--connect-timeout", "connect_s", "until it is connected"),
    ("--first-byte-timeout", "first_byte_s", "until it begins to answer"),
    ("--idle-timeout", "idle_s", "from any byte of an answer to the next"),
    ("--timeout", "total_s", "of a whole call"),
)
_PAIRS: Final = (
    ("--header", "headers", "NAME=VALUE", "a header of each request; not for secrets"),
    ("--query", "query", "NAME=VALUE", "a query parameter of each request; not for secrets"),
    ("--base-url-for", "base_urls", "DIALECT=URL", "where a dialect is, if elsewhere"),
)


def add_values(action: CommandParser) -> None:
    """Add the options that set values of a row."""
    for option, column, metavar, what in _TEXTS:
        action.add_argument(option, dest=column, metavar=metavar, help=what)
    for option, column, metavar, what in _LISTS:
        action.add_argument(option, dest=column, metavar=metavar, help=what, type=_listed)
    for option, column, what in _NUMBERS:
        action.add_argument(option, dest=column, metavar="N", type=int, help=what)
    for option, column, what in _LIMITS:
        action.add_argument(option, dest=column, metavar="N", type=limit, help=what)
    for option, column, what in _TIMES:
        action.add_argument(option, dest=column, metavar="S", type=seconds, help=f"seconds {what}")
    for option, column, metavar, what in _PAIRS:
        action.add_argument(option, dest=column, metavar=metavar, action="append", help=what)
    action.add_argument(
        *("--model",),
        dest="model",
        metavar="NAME[=SENT],…",
        action="append",
        type=_listed,
        help="models that it lists, with what it calls them",
    )
    action.add_argument("--cap-name", choices=CAP_NAMES, help="the only name")
    for option, column, what in (
        ("--stream-options", "takes_stream_options", "it takes stream_options, or not"),
        ("--keeps", "keeps", "its Responses API can store answers, or not"),
        ("--allow-private", "allow_private", "it may be at a private address, or not"),
    ):
        action.add_argument(option, dest=column, action=argparse.BooleanOptionalAction, help=what)


def add_secret(action: CommandParser) -> None:
    """Add the options that say where the secret is."""
    secret = action.add_mutually_exclusive_group()
    secret.add_argument(
        "--secret-stdin", action="store_true", help="seal the secret from standard input"
    )
    secret.add_argument("--secret-env", metavar="NAME", help="it is in this environment variable")
    secret.add_argument("--secret-file", metavar="PATH", help="it is in this file")


def secret_in(options: Mapping[str, Any]) -> GivenSecret | None:
    """Return the secret that the options give, or None."""
    if options["secret_stdin"]:
        text = sys.stdin.read(SECRET_MAX_CHARS + 1)
        if not text.strip():
            raise Invalid("--secret-stdin needs the secret on standard input")
        return GivenSecret(text=text)
    if options["secret_env"] is not None:
        return GivenSecret(source=f"env:{options['secret_env']}")
    if options["secret_file"] is not None:
        return GivenSecret(source=f"file:{Path(options['secret_file']).absolute()}")
    return None


def values_in(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that the options give, by their columns. Raises Invalid."""
    single = (*_TEXTS, *_LISTS, *_NUMBERS, *_LIMITS, *_TIMES)
    columns = [*(each[1] for each in single), "cap_name"]
    columns += ["takes_stream_options", "keeps", "allow_private"]
    found = {column: options[column] for column in columns if options[column] is not None}
    found |= {column: None for _, column, _ in (*_LIMITS, *_TIMES) if found.get(column) == ""}
    for option, column, _, _ in _PAIRS:
        if options[column] is not None:
            found[column] = dict(_pair(option, each) for each in options[column] if each)
    if options["model"] is not None:
        found |= models_in(each for group in options["model"] for each in group)
    return found


def models_in(entries: Iterable[str]) -> dict[str, Any]:
    """Return the models of `NAME` and `NAME=SENT`, and what the provider calls them."""
    pairs = [each.partition("=") for each in entries]
    return {
        "models": [name.strip() for name, _, _ in pairs],
        "names": {canonical(name) or name: sent.strip() for name, is_given, sent in pairs if sent},
    }


def limit(text: str) -> int | str:
    """Return a number, or an empty text: none. argparse shows this name in its errors."""
    return text and int(text)


def seconds(text: str) -> float | str:
    """Return a time, or an empty text: the installation's."""
    return text and float(text)


def _pair(option: str, text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise Invalid(f"{option} must be NAME=VALUE")
    return name.strip(), value


def _listed(text: str) -> list[str]:
    return [each for each in map(str.strip, text.split(",")) if each]
