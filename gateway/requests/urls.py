"""URLs of the requests' pages, below /admin/."""

from __future__ import annotations

from django.urls import path

from gateway.requests import exports, views

urlpatterns = [
    path("ai", views.requests, name="requests"),
    path("ai/requests/new", views.new_requests, name="requests-new"),
    path("ai/requests.csv", exports.export_requests, {"format": "csv"}, name="requests-csv"),
    path(
        "ai/requests.json",
        exports.export_requests,
        {"format": "json"},
        name="requests-json",
    ),
    path("ai/session", views.session, name="session"),
    path("ai/requests/<str:request_id>", views.request_detail, name="request"),
]
