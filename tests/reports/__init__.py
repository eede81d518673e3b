"""Kinds of public reports about such gateways, each with what is right and the test of it."""
