"""The environment variables of each vendor, which `pulse.settings` also reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Variables:
    """The names of a vendor's variables; of several for the key, the first one set is used."""

    key: tuple[str, ...]
    base_url: str


VARIABLES: Final = {
    "openai": Variables(("OPENAI_API_KEY",), "OPENAI_BASE_URL"),
    "anthropic": Variables(("ANTHROPIC_API_KEY",), "ANTHROPIC_BASE_URL"),
    "google": Variables(("GOOGLE_API_KEY", "GEMINI_API_KEY"), "GOOGLE_GEMINI_BASE_URL"),
    "mistral": Variables(("MISTRAL_API_KEY",), "MISTRAL_BASE_URL"),
}
