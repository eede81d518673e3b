"""URLs of signing in and out."""

from __future__ import annotations

from django.urls import path

from orgs import session_views

urlpatterns = [
    path("", session_views.home, name="home"),
    path("login", session_views.sign_in, name="login"),
    path("logout", session_views.sign_out, name="logout"),
    path("welcome/<str:uid>/<str:token>/", session_views.welcome, name="welcome"),
]
