"""URLs of the cost pages."""

from __future__ import annotations

from django.urls import path

from costs import views

urlpatterns = [
    path("costs", views.costs, name="costs"),
    path("costs.csv", views.costs_csv, name="costs-csv"),
]
