"""Hashes that identify repeated requests: the prompt, the Idempotency-Key, the body."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

import orjson

from costs.core.admission import Repeat
from gateway.core.calls import Call, Principal
from orgs.threads import BODIES


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """The hash of a call's prompt; those of its Idempotency-Key and body, None without a key."""

    prompt: str
    repeat: Repeat | None


async def fingerprints_of(keyed: hmac.HMAC, principal: Principal, call: Call) -> Fingerprints:
    """Return a call's fingerprints; those of a large one are computed in a thread."""

    def computed() -> Fingerprints:
        return Fingerprints(prompt_hash(keyed, call), repeat_of(principal, call))

    return await BODIES.run(principal.org_id, computed) if call.is_large else computed()


def prompt_hash(keyed: hmac.HMAC, call: Call) -> str:
    """Return the HMAC-SHA-256 of the canonical messages under the organization's key.

    A plain hash of a short prompt could be guessed; this one only with the key.
    """
    mac = keyed.copy()  # see `orgs.core.keys` for why not `hmac.digest`
    mac.update(orjson.dumps(call.body.canonical()))
    return mac.hexdigest()


def repeat_of(principal: Principal, call: Call) -> Repeat | None:
    """Return the hashes of the Idempotency-Key, scoped to the caller, and of the body.

    A key and those that it was rotated to are one caller, so that a retry with the new key finds
    the request that was sent with the old one.
    """
    if call.idempotency_key is None:
        return None
    caller = principal.key_lineage or principal.fixed.user_id
    return Repeat(
        key_hash=_sha256([str(principal.org_id), str(caller), call.idempotency_key]),
        body_hash=_sha256(call.identity()),
    )


def _sha256(value: object) -> str:
    encoded = value if isinstance(value, bytes) else orjson.dumps(value)
    return hashlib.sha256(encoded).hexdigest()
