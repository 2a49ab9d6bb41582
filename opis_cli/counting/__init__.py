"""Turn ``Embeddings`` into ``PairCounts``. All code that sees a vector or a pair is here."""
