"""Decide tables of pairs by a threshold."""
