"""Tests of the pages of models and prices."""
