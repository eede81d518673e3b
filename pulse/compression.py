"""Packs what browsers get: pages, and static files where no packed form lies beside them."""

from __future__ import annotations

from django.middleware.gzip import GZipMiddleware


class CompressionMiddleware(GZipMiddleware):
    """Django's own, under a name of its own: it stands outside ServeStatic, which forbids that.

    ServeStatic packs files only when they are collected, so the server of `make run` would send
    them whole. Collected ones are packed already and pass. Django pads what it packs with random
    bytes, against BREACH.
    """
