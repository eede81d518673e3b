"""URLs of the playground, below /admin/."""

from __future__ import annotations

from django.urls import path

from gateway.playground import views

urlpatterns = [
    path("ai/playground", views.playground, name="playground"),
]
