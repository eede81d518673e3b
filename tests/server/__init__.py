"""Tests of the server: connections, heads, bodies of pages."""
