"""URLs of the aliases' pages, below /admin/."""

from __future__ import annotations

from django.urls import path

from gateway.aliases import views

urlpatterns = [
    path("ai/aliases", views.aliases, name="aliases"),
    path("ai/aliases.csv", views.export_aliases, {"format": "csv"}, name="aliases-csv"),
    path("ai/aliases.json", views.export_aliases, {"format": "json"}, name="aliases-json"),
    path("ai/aliases/create", views.create_alias, name="alias-create"),
    path("ai/aliases/<str:alias_id>", views.edit_alias, name="alias-edit"),
    path("ai/aliases/<str:alias_id>/toggle", views.toggle_alias, name="alias-toggle"),
    path("ai/aliases/<str:alias_id>/delete", views.delete_alias, name="alias-delete"),
]
