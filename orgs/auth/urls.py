"""URLs of sign-in and sign-out."""

from __future__ import annotations

from django.urls import path

from orgs.auth import views

urlpatterns = [
    path("", views.home, name="home"),
    path("login", views.sign_in, name="login"),
    path("logout", views.sign_out, name="logout"),
]
