"""Tests of the choice among the rows that serve one model."""
