"""The URLs of the status page."""

from __future__ import annotations

from django.urls import path

from gateway.status import views

urlpatterns = [
    path("status", views.status, name="status"),
    path("status.json", views.status_as_json, name="status-json"),
]
