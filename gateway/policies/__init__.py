"""Policies: rules, pages, the command, and the backtest."""
