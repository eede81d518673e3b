"""Budgets: limits of some calls in a window, their status and forecast."""
