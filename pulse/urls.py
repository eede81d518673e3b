"""Every URL of the installation."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", include("gateway.urls")),
    path("admin/", admin.site.urls),
    path("", include("orgs.urls")),
    path("", include("costs.urls")),
    path("costs/", include("gateway.budget_urls")),
    path("costs/", include("gateway.alert_urls")),
    path("", include("gateway.api_urls")),
]
