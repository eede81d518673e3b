"""Calls that only calls in flight keep out of a limit on money, while they wait for room."""
