"""The audit rows of calls, and what is kept beside them."""
