"""URL of the page that a one-time link opens."""

from __future__ import annotations

from django.urls import path

from orgs.members import views

urlpatterns = [path("welcome/<str:uid>/<str:token>/", views.welcome, name="welcome")]
