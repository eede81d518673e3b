"""The history: who signed in and who changed what, from where, in rows that stay."""
