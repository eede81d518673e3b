"""Every URL of the installation; each package has its own."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from gateway.requests.views import short_address

handler403 = "orgs.auth.other_organization.denied"

urlpatterns = [
    path("admin/", include("gateway.requests.urls")),
    path("r/<str:request_id>", short_address, name="request-short"),
    path("admin/", include("gateway.policies.urls")),
    path("admin/", include("gateway.aliases.urls")),
    path("admin/", include("gateway.provider_rows.urls")),
    path("admin/", include("gateway.playground.urls")),
    path("admin/", include("gateway.keys.urls")),
    path("admin/", include("gateway.console.urls")),
    path("admin/", admin.site.urls),
    path("", include("orgs.auth.urls")),
    path("", include("orgs.members.urls")),
    path("", include("orgs.settings.urls")),
    path("", include("costs.explorer.urls")),
    path("costs/", include("gateway.budgets.urls")),
    path("costs/", include("gateway.alerts.urls")),
    path("", include("gateway.price_pages.urls")),
    path("", include("gateway.status.urls")),
    path("", include("gateway.http.urls")),
]
