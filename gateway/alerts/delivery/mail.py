"""Sends one email to a channel's addresses, by the server that EMAIL_URL names."""

from __future__ import annotations

import smtplib
from collections.abc import Sequence

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.message import BadHeaderError

from gateway.alerts.delivery.webhook import Outcome

NO_SERVER = "email is not configured: EMAIL_URL is not set"


def send(addresses: Sequence[str], subject: str, text: str, *, message_id: str) -> Outcome:
    """Send the text and return what came of it.

    `message_id` is the same each time it is tried: mail programs show it once.
    """
    if not settings.SENDS_EMAIL:
        return Outcome(is_delivered=False, detail=NO_SERVER)
    headers = {"Message-ID": f"<{message_id}>", "Auto-Submitted": "auto-generated"}
    message = EmailMessage(subject=subject, body=text, to=list(addresses), headers=headers)
    try:
        sent = get_connection(timeout=settings.EMAIL_TIMEOUT).send_messages([message])
    except BadHeaderError:
        return Outcome(is_delivered=False, detail="an address or the subject has a line break")
    except smtplib.SMTPRecipientsRefused as exc:
        codes = [code for code, _ in exc.recipients.values()]
        return _refused("the mail server refused every address", codes)
    except smtplib.SMTPResponseException as exc:
        return _refused(f"the mail server answered {exc.smtp_code}", [exc.smtp_code])
    except (smtplib.SMTPException, OSError) as exc:
        detail = f"the mail server could not be reached: {type(exc).__name__}"
        return Outcome(is_delivered=False, detail=detail, may_pass=True)
    return Outcome(is_delivered=bool(sent), detail=f"to {len(addresses)}" if sent else "not sent")


def _refused(detail: str, codes: Sequence[int]) -> Outcome:
    """Codes from 400 to 499 may pass by themselves (RFC 5321, 4.2.1)."""
    may_pass = any(400 <= code < 500 for code in codes)
    return Outcome(is_delivered=False, detail=detail, may_pass=may_pass)
