"""Procedural worlds: data that anyone may have, with exact labels."""
