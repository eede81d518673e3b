"""URLs of sign-in, sign-out and the own profile."""

from __future__ import annotations

from django.urls import path

from orgs.auth import profile, views

urlpatterns = [
    path("", views.home, name="home"),
    path("login", views.sign_in, name="login"),
    path("logout", views.sign_out, name="logout"),
    path("settings/profile", profile.profile, name="profile"),
    path("settings/profile/password", profile.change_password, name="profile-password"),
    path("settings/profile/sessions", profile.end_sessions, name="profile-sessions"),
]
