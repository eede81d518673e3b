"""URLs of the playground, below /admin/."""

from __future__ import annotations

from django.urls import path

from gateway import playground_views

urlpatterns = [
    path("ai/playground", playground_views.playground, name="playground"),
]
