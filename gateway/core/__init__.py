"""Calls, errors, bounds, model names, policies and aliases as plain Python."""
