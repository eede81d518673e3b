"""Normalize the two spellings of Google's fields, `maxOutputTokens` and `max_output_tokens`.

https://protobuf.dev/programming-guides/json/: parsers accept both names of a field.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from gateway.core.request_body import invalid

# Each run is tried once, from its start: a name of underscores would take time by its square.
_UNDERSCORE: Final = re.compile(r"(?<!_)_++([a-z0-9])")


def in_camel_case(fields: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Return the fields with the known ones in the first spelling, others as they are.

    Raises Refused if a field is given in both: which one the vendor uses is undocumented.
    """
    found: dict[str, Any] = {}
    for name, value in fields.items():
        camel = _UNDERSCORE.sub(lambda match: match[1].upper(), name) if "_" in name else name
        named = camel if camel in known else name
        if named in found:
            raise invalid(f"{named} must not be given in two spellings")
        found[named] = value
    return found
