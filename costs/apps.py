"""The costs app."""

from collections.abc import Callable, Collection

from django.apps import AppConfig


class CostsConfig(AppConfig):
    """Keeps what finds the providers besides the vendors: another app's, which registers it."""

    name = "costs"
    other_providers: Callable[[], Collection[str]] = frozenset
