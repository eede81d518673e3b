"""Shared by the pages and commands of every app: exports, confirmations, command actions."""
