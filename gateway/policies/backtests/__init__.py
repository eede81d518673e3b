"""Replay past requests under a policy: what it would have refused and saved."""
