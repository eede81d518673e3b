"""Budgets that limit each member, key or other value of a dimension for itself."""
