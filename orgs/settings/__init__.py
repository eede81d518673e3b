"""Organizations: create, list, change, and the AI Gateway switch."""
