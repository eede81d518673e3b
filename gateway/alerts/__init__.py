"""Alerts: found in the ledger, sent by e-mail and webhook, by one process at a time."""
