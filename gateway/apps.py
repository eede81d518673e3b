"""The gateway app."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from django.apps import AppConfig, apps
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from gateway.call.runtime import Gateway


class GatewayConfig(AppConfig):
    """Keeps the process's one gateway, made when the first request needs it."""

    name = "gateway"

    def ready(self) -> None:
        """Let prices be set for rows of providers."""
        costs = apps.get_app_config("costs")
        costs.other_providers = import_string("gateway.providers.rows.row_names")  # type: ignore[attr-defined]

    @cached_property
    def gateway(self) -> Gateway:
        # By name: models are not ready when this module is imported.
        made: Gateway = import_string("gateway.call.runtime.make_gateway")()
        return made
