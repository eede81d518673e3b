"""A service account of Google's cloud, whose tokens a fake server issues."""

from __future__ import annotations

import json
from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


@cache
def service_account() -> str:
    """Return its JSON; {origin} stands for the server's."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "acme",
            "private_key_id": "key-1",
            "private_key": pem,
            "client_email": "pulse@acme.iam.gserviceaccount.com",
            "token_uri": "{origin}/token",
        }
    )
