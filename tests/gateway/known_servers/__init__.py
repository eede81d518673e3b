"""Calls through the gateway to rows that were made of presets, each at the fake of its server."""
