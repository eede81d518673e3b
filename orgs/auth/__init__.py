"""Signing in, the credentials of a request, and what a person may see and change."""
