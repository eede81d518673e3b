"""URLs of the aliases' pages, below /admin/."""

from __future__ import annotations

from django.urls import path

from gateway import alias_views

urlpatterns = [
    path("ai/aliases", alias_views.aliases, name="aliases"),
    path("ai/aliases.csv", alias_views.export_aliases, {"format": "csv"}, name="aliases-csv"),
    path("ai/aliases.json", alias_views.export_aliases, {"format": "json"}, name="aliases-json"),
    path("ai/aliases/create", alias_views.create_alias, name="alias-create"),
    path("ai/aliases/<str:alias_id>", alias_views.edit_alias, name="alias-edit"),
    path("ai/aliases/<str:alias_id>/toggle", alias_views.toggle_alias, name="alias-toggle"),
    path("ai/aliases/<str:alias_id>/delete", alias_views.delete_alias, name="alias-delete"),
]
