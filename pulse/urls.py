"""Every URL of the installation; each room has its own."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", include("gateway.request_urls")),
    path("admin/", include("gateway.policy_urls")),
    path("admin/", include("gateway.alias_urls")),
    path("admin/", include("gateway.playground_urls")),
    path("admin/", include("gateway.key_urls")),
    path("admin/", include("gateway.console_urls")),
    path("admin/", admin.site.urls),
    path("", include("orgs.session_urls")),
    path("", include("orgs.settings_urls")),
    path("", include("costs.urls")),
    path("costs/", include("gateway.budget_urls")),
    path("costs/", include("gateway.alert_urls")),
    path("", include("gateway.api_urls")),
]
