"""Alerts: found in the ledger, sent by email and webhook, by one process at a time."""
