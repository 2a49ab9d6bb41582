"""Mend embeddings without retraining: fit remedies, try them on held-out classes, apply them."""
