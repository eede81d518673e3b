"""Known servers, read from presets.toml: what a provider's row begins with."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urljoin

from gateway.core.providers import DIALECTS, FAMILIES

CAP_NAMES: Final = ("max_tokens", "max_completion_tokens", "")
_AUTH: Final = re.compile(r"bearer|none|google|(header|query):[A-Za-z0-9-]+")
_FIELD: Final = re.compile(r"[a-z_]+(\[\])?(\.[a-z_]+(\[\])?)*")
_TABLE: Final = Path(__file__).with_name("presets.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPreset:
    """A known server; presets.toml explains the fields.

    Raises ValueError for a value that no row could have.
    """

    name: str
    title: str
    base_url: str
    auth: str
    dialects: tuple[str, ...]
    address: str = ""
    family: str = ""
    base_urls: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    cap_name: str = ""
    takes_stream_options: bool = True
    keeps: bool = False
    prices: str = ""
    lists_models: bool = True

    def __post_init__(self) -> None:
        wrong = [
            *(f"dialect {each}" for each in {*self.dialects, *self.base_urls} - {*DIALECTS}),
            *(
                f"dialect {each} without an address"
                for each in {*self.base_urls} - {*self.dialects}
            ),
            *(f"field {each}" for each in self.drop if not _FIELD.fullmatch(each)),
            *([f"auth {self.auth}"] if not _AUTH.fullmatch(self.auth) else []),
            *([f"family {self.family}"] if self.family not in FAMILIES else []),
            *([f"cap_name {self.cap_name}"] if self.cap_name not in CAP_NAMES else []),
        ]
        if wrong:
            raise ValueError(f"preset {self.name}: {', '.join(sorted(wrong))}")

    def has_address(self, base_url: str) -> bool:
        """Return whether a base URL is one of this server's."""
        if not self.address:
            return False
        without_scheme = base_url.partition("://")[2].rstrip("/")
        return re.fullmatch(self.address, without_scheme, re.IGNORECASE) is not None

    def base_url_of(self, dialect: str, base_url: str) -> str:
        """Return where a dialect is served, given a row's base URL."""
        reference = self.base_urls.get(dialect)
        return base_url if reference is None else urljoin(f"{base_url.rstrip('/')}/", reference)


@cache
def presets() -> Mapping[str, ServerPreset]:
    """Return the known servers by name. Raises ValueError for an unknown key."""
    tables = tomllib.loads(_TABLE.read_text(encoding="utf-8"))
    return MappingProxyType({name: preset_from(name, table) for name, table in tables.items()})


def preset_from(name: str, table: Mapping[str, Any]) -> ServerPreset:
    """Return the preset of a table. Raises ValueError for an unknown, missing or wrong value."""
    known = {each.name for each in fields(ServerPreset)} - {"name"}
    if unknown := table.keys() - known:
        raise ValueError(f"preset {name} has unknown keys: {', '.join(sorted(unknown))}")
    tuples = {key: tuple(table[key]) for key in ("dialects", "drop") if key in table}
    try:
        return ServerPreset(name=name, **{**table, **tuples})
    except TypeError as exc:
        raise ValueError(f"preset {name} is incomplete: {exc}") from exc


def preset_of(base_url: str) -> ServerPreset | None:
    """Return the known server whose address a base URL is, or None."""
    return next((each for each in presets().values() if each.has_address(base_url)), None)
