"""Readers for the real formats, the facts about where each data set comes from, and generated captures."""
