"""Store Idempotency-Keys and the requests that used them, for a day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from costs.core.admission import Repeated, ReserveRequest
from costs.ledger.stores.base import Store
from gateway.core.attempts import WAIT_MAX_S
from gateway.core.errors import AlreadyDone, Refused

REPEATS_KEPT: Final = timedelta(hours=24)
# A request between attempts has a failed row and keeps its key. If that lasts longer than the
# maximum wait, the process ended before the next attempt: its key is free again.
# As many as a busy process may store between two runs, so that none grows a backlog.
FORGOTTEN_AT_ONCE_MAX: Final = 5_000
BETWEEN_ATTEMPTS: Final = timedelta(seconds=WAIT_MAX_S + 10)


def used_before(
    store: Store, requests: Sequence[ReserveRequest], *, now: datetime
) -> Mapping[UUID, Repeated]:
    """Return, by request id, the earlier requests with the same key."""
    if not requests:
        return {}
    hashes = [request.repeat.key_hash for request in requests if request.repeat]
    rows = store.query(
        "SELECT k.key_hash, k.body_hash, k.request_id, l.status, l.cost_nanoeur "
        "FROM idempotency_key k LEFT JOIN ai_request_log l ON l.id = k.request_id "
        "WHERE k.org_id = ANY(%s) AND k.key_hash = ANY(%s) AND k.seen_at > %s "
        "AND (l.status IS NULL OR l.status <> 'error' OR l.completed_at > %s)",
        list({request.org_id for request in requests}),
        hashes,
        now - REPEATS_KEPT,
        now - BETWEEN_ATTEMPTS,
    )
    used = {row[0]: row[1:] for row in rows}
    found: dict[UUID, Repeated] = {}
    for request in requests:
        if request.repeat is None:
            continue
        first = used.get(request.repeat.key_hash)
        if first is None:  # a second request in this batch finds this one
            used[request.repeat.key_hash] = (
                request.repeat.body_hash,
                request.request_id,
                "pending",
                None,
            )
            continue
        body_hash, request_id, status, cost_nanoeur = first
        request_id = request_id if isinstance(request_id, UUID) else UUID(request_id)
        if request_id == request.request_id:  # its own key, from an earlier attempt
            continue
        found[request.id] = Repeated(
            request_id=request_id,
            same_body=body_hash == request.repeat.body_hash,
            running=status in ("pending", "error"),
            cost_nanoeur=cost_nanoeur,
        )
    return found


def refusal_of_repeat(repeated: Repeated) -> Refused:
    """Return the refusal of a request whose Idempotency-Key another one has."""
    if not repeated.same_body:
        sentence = "This Idempotency-Key was used with another request"
        return Refused("idempotency_key_reused", sentence, status=422)
    if repeated.running:
        sentence = "A request with this Idempotency-Key is in progress"
        return Refused("request_in_progress", sentence, status=409, retry_after_s=1)
    return AlreadyDone(request_id=repeated.request_id, cost_nanoeur=repeated.cost_nanoeur or 0)


def note(store: Store, requests: Sequence[ReserveRequest], *, now: datetime) -> None:
    """Store the keys of admitted calls."""
    for request in requests:
        if request.repeat is None:
            continue
        store.execute(
            "INSERT INTO idempotency_key (org_id, key_hash, body_hash, request_id, seen_at) "
            "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (org_id, key_hash) DO UPDATE SET "
            "body_hash = excluded.body_hash, request_id = excluded.request_id, "
            "seen_at = excluded.seen_at",
            request.org_id,
            request.repeat.key_hash,
            request.repeat.body_hash,
            request.request_id,
            now,
        )


def give_back(store: Store, *, org_id: UUID, key_hash: str, request_id: UUID) -> None:
    """Delete a request's key so that its caller can retry; another request's key stays."""
    store.execute(
        "DELETE FROM idempotency_key WHERE org_id = %s AND key_hash = %s AND request_id = %s",
        org_id,
        key_hash,
        request_id,
    )


def forget_expired(store: Store, *, now: datetime) -> None:
    """Delete the oldest expired keys, at most FORGOTTEN_AT_ONCE_MAX: calls wait meanwhile."""
    store.execute(
        "DELETE FROM idempotency_key WHERE (org_id, key_hash) IN (SELECT org_id, key_hash "
        "FROM idempotency_key WHERE seen_at < %s ORDER BY seen_at LIMIT %s)",
        now - REPEATS_KEPT,
        FORGOTTEN_AT_ONCE_MAX,
    )
