"""URLs of the providers' pages, below /admin/."""

from __future__ import annotations

from django.urls import path

from gateway.provider_rows import views

urlpatterns = [
    path("ai/providers", views.providers, name="providers"),
    path("ai/providers/create", views.create_provider, name="provider-create"),
    path("ai/providers/check", views.check_provider, name="provider-check"),
    path("ai/providers/<str:provider_id>", views.edit_provider, name="provider-edit"),
    path("ai/providers/<str:provider_id>/toggle", views.toggle_provider, name="provider-toggle"),
    path("ai/providers/<str:provider_id>/secret", views.rotate_secret, name="provider-secret"),
    path("ai/providers/<str:provider_id>/models", views.take_models, name="provider-models"),
    path("ai/providers/<str:provider_id>/delete", views.delete_provider, name="provider-delete"),
]
