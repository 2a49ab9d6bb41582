"""Compute scores and a recommended threshold from ``PairCounts``."""
