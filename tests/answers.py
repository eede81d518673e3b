"""What pages and files say, whether they come at once or in pieces."""

from __future__ import annotations

from django.test import Client


def text_of(client: Client, path: str, **query: str | int) -> str:
    """Return the text of a page or a file that is there."""
    response = client.get(path, query or None)
    assert response.status_code == 200, path
    return b"".join(response).decode()
