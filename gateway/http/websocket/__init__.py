"""Responses over WebSocket: each turn is a request of its own, in the pipeline of all others."""
