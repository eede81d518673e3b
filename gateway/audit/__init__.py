"""Verify the audit log against the ledger, and the ledger itself."""
