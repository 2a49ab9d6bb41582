"""From ``Embeddings`` to ``PairCounts``: whatever sees a vector or a pair."""
