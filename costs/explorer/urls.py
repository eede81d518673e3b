"""URLs of the cost pages."""

from __future__ import annotations

from django.urls import path
from django.views.generic import RedirectView

from costs.explorer import views
from orgs.console.queries import passes_on

urlpatterns = [
    path("costs", views.costs, name="costs"),
    path("costs/", passes_on(RedirectView.as_view(pattern_name="costs", query_string=True))),
    path("costs.csv", views.costs_csv, name="costs-csv"),
    path("costs.json", views.costs_json, name="costs-json"),
]
