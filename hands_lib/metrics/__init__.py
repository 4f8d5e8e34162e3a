"""Scores, never losses. Every name carries its unit, every docstring its protocol."""
