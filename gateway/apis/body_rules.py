"""Rules for fields at any depth of a body: which ids may pass, and how long caches last."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from gateway.core.request_body import invalid
from gateway.core.strict_json import place_of, shown

_Node = dict[str, "_Node"]

STORED: Final = (
    "{} is not supported: what is stored at the provider is shared by the whole installation; "
    "send its content"
)
_TTL: Final = "ttl"
# What ends a part of the prompt that Anthropic writes to its cache; without one it writes nothing:
# https://platform.claude.com/docs/en/build-with-claude/prompt-caching
_MARK: Final = "cache_control"
_MARKED: Final = "cache_write_5m"  # the default lifetime
# The vendors' cache lifetimes and their buckets; OpenAI's default one is in every bound.
ANTHROPIC_TTLS: Final = MappingProxyType({"5m": _MARKED, "1h": "cache_write_1h"})
OPENAI_TTLS: Final = MappingProxyType({"30m": None, "12h": "cache_write_12h"})
# The last word of a name, in any spelling. Few names end so, and the regular expression takes long.
_ENDS: Final = (
    _TTL,
    _MARK,
    *("id", "ids", "Id", "Ids", "ID", "IDs", "IDS"),
    *("uri", "uris", "Uri", "Uris", "URI", "URIs", "URIS"),
)
_ID: Final = re.compile(r"(?:(?:^|[_-])(?i:id|uri)|(?<=[a-z0-9])(?:I[dD]|U(?:ri|RI)))[sS]?$")
_NOTHING: Final[tuple[object, ...]] = (None, "", [], {})
_CONTAINERS: Final = frozenset({dict, list})
# What a name is at its place in the rules, besides a name that has others below it.
_MAY_PASS: Final[_Node] = {}
_OWN: Final[_Node] = {}
_UNLISTED: Final[_Node] = {}


class BodyRules:
    """What the bodies of one dialect may name.

    No id reaches a provider but at the places in `ids`: these are made in the conversation itself,
    name nothing that is stored, or are checked elsewhere. Below the places in `own` all names are
    the caller's: schemas, arguments of tools, metadata. A cache lifetime is one of `cache_ttls`,
    and fills the bucket there, if any: what another one costs is not known.

    A place is a path without indexes, such as `messages.tool_calls.id`, in any spelling.
    """

    def __init__(
        self,
        *,
        ids: Collection[str] = (),
        own: Collection[str] = (),
        cache_ttls: Mapping[str, str | None] = MappingProxyType({}),
    ) -> None:
        self._top: _Node = {}
        self._cache_ttls = cache_ttls
        for leaf, places in ((_MAY_PASS, ids), (_OWN, own)):
            for place in places:
                *above, last = map(_unspelled, place.split("."))
                node = self._top
                for name in above:
                    node = node.setdefault(name, {})
                node[last] = leaf

    def buckets_of(self, body: Mapping[str, Any]) -> frozenset[str]:
        """Return the buckets that the cache marks and lifetimes of a body can fill.

        Raises Refused for an id that may not pass, and for an unknown lifetime.
        """
        buckets: set[str | None] = set()
        for holder, name, rule in self._found(body):
            if name == _MARK:
                buckets.add(_MARKED)
            elif name != _TTL:
                if rule is not _MAY_PASS:
                    raise invalid(STORED.format(_path(body, holder, name)))
            elif isinstance(ttl := holder[name], str) and ttl in self._cache_ttls:
                buckets.add(self._cache_ttls[ttl])
            else:
                raise invalid(self._not_a_lifetime(_path(body, holder, name)))
        return frozenset(bucket for bucket in buckets if bucket)

    def _not_a_lifetime(self, path: str) -> str:
        if not self._cache_ttls:
            return f"{path} is not supported"
        return f"{path} must be one of {', '.join(self._cache_ttls)}"

    def _found(self, body: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str, _Node]]:
        """Yield each id, cache mark and lifetime, at any depth: its object, its name, its rule."""
        containers: list[tuple[Any, _Node]] = [(body, self._top)]
        for container, node in containers:  # which grows meanwhile
            if isinstance(container, list):
                containers += [(each, node) for each in container if type(each) in _CONTAINERS]
                continue
            for name, value in container.items():
                is_nested = type(value) in _CONTAINERS
                is_telling = name.endswith(_ENDS) and (
                    name in (_TTL, _MARK) or _ID.search(name) is not None
                )
                if is_nested or is_telling:
                    rule = node.get(_unspelled(name), _UNLISTED) if node else _UNLISTED
                    if is_telling and value not in _NOTHING:
                        yield container, name, rule
                    if is_nested and rule is not _OWN:
                        containers.append((value, rule))


def _path(body: object, holder: object, name: str) -> str:
    """Return the path of a field with indexes."""
    if holder is body:
        return shown(name)
    return f"{place_of(body, lambda each: each is holder)}.{shown(name)}"


def _unspelled(name: str) -> str:
    """Return a name as it is compared: vendors accept `fileUri` and `file_uri`."""
    return name.replace("_", "").lower()
