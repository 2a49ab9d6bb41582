"""From anything on disk to clean ``Embeddings``."""
