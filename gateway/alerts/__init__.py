"""Alerts: found in the ledger, told by e-mail and webhook, by one process at a time."""
