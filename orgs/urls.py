"""URLs of sign-in and settings."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
