"""The vendors, read from vendors.toml, and their configurations with the keys of the environment.

`pulse.settings` reads the names of their variables here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from yarl import URL

from costs.core.usage import STANDARD_PLACE
from gateway.core.providers import USUAL, ProviderConfig, TimeLimits
from orgs.core.frozen import frozen

SANDBOX: Final = "sandbox"
_TABLE: Final = Path(__file__).with_name("vendors.toml")
_OF_CONFIG: Final = (
    *("title", "standard_tier", "keeps", "counts_input", "cap_name", "takes_stream_options"),
    "base_url",
)


@frozen
class Vendor:
    """A vendor: its configuration without a key, and what the environment adds."""

    config: ProviderConfig
    key_variables: tuple[str, ...]
    base_url_variable: str
    version: str
    credentials: Mapping[str, str]
    regional_hosts: str | None

    def configured(
        self, api_key: str, base_url: str | None, limits: TimeLimits = USUAL
    ) -> ProviderConfig:
        """Return its configuration with this key; `base_url` None is the vendor's own."""
        base_url = (base_url or self.config.base_url).rstrip("/")
        fault = f'Provider "{self.config.title}" is not configured; set {self.key_variables[0]}'
        return replace(
            self.config,
            base_url=base_url + self.version,
            secret=api_key,
            headers={name: text.format(api_key) for name, text in self.credentials.items()},
            fault=None if api_key else fault,
            limits=limits,
            place=self._place(base_url),
        )

    def _place(self, base_url: str) -> str:
        """Return the region of a host, or the standard place for any other."""
        host = (URL(base_url).host or "").rstrip(".")
        found = re.fullmatch(self.regional_hosts, host) if self.regional_hosts else None
        return found[1] if found else STANDARD_PLACE


@cache
def vendors() -> Mapping[str, Vendor]:
    """Return the vendors by name."""
    tables = tomllib.loads(_TABLE.read_text(encoding="utf-8"))
    return MappingProxyType({name: _vendor(name, table) for name, table in tables.items()})


def _vendor(name: str, table: dict[str, Any]) -> Vendor:
    return Vendor(
        config=ProviderConfig(
            name=name,
            family=name,
            dialects=frozenset(table["dialects"]),
            **{field: table[field] for field in _OF_CONFIG if field in table},
        ),
        key_variables=tuple(table["key_variables"]),
        base_url_variable=table["base_url_variable"],
        version=table.get("version", ""),
        credentials=table["credentials"],
        regional_hosts=table.get("regional_hosts"),
    )


def sandbox(*, is_on: bool, limits: TimeLimits = USUAL) -> ProviderConfig:
    """Return the configuration of the sandbox, which has no API."""
    fault = 'Provider "Sandbox" is not configured; set PULSE_SANDBOX=on'
    title, family = "Sandbox", SANDBOX
    return ProviderConfig(
        name=SANDBOX,
        title=title,
        family=family,
        fault=None if is_on else fault,
        limits=limits,
    )
