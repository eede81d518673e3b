"""Checks before money is held for a call: policies, first the model, then the tokens."""
