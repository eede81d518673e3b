"""The ledger's statements for each database."""
