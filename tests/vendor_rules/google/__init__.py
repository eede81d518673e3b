"""The rules of Google."""
